// A vitest reporter for logs: one line per test file, each failure with the command that reruns it, and counts for the
// closing line `N passed, N failed[, N skipped]`, which scripts/test.mjs prints after everything else has ended. Each line says how
// many files are done and how long it took so far.
// A file that breaks before its tests run, and an error outside of tests, count as one failure each.
import { stripVTControlCharacters } from 'node:util';

const MAX_STACK_LINES = 12;

export class PlainReporter {
  #root = process.cwd();
  #brokenFiles = 0;
  #unhandled = 0;
  #passed = 0;
  #failed = 0;
  #skipped = 0;
  #write;
  #open = new Map();
  #failures = [];
  #startedMs = Date.now();
  #progressMs = this.#startedMs;
  #files = 0;
  #filesDone = 0;

  /** @param {(line: string) => void} [write] */
  constructor(write = (line) => console.log(line)) {
    this.#write = write;
  }

  onInit(vitest) {
    this.#root = vitest.config.root;
  }

  onTestRunStart(files) {
    this.#files = files.length;
  }

  onTestModuleQueued(module) {
    this.#progressMs = Date.now();
    this.#open.set(module.relativeModuleId, '');
  }

  onTestCaseReady(test) {
    this.#progressMs = Date.now();
    this.#open.set(test.module.relativeModuleId, test.fullName);
  }

  onTestCaseResult() {
    this.#progressMs = Date.now();
  }

  /** How long no test has begun or ended. */
  idleMs() {
    return Date.now() - this.#progressMs;
  }

  /** What is running, as far as the test processes have reported. */
  whereabouts() {
    const open = [...this.#open].map(([file, test]) => (test === '' ? file : `${file} > ${test}`));
    return `running: ${open.join(', ') || 'nothing'}`;
  }

  onTestModuleEnd(module) {
    this.#progressMs = Date.now();
    this.#open.delete(module.relativeModuleId);
    const tests = [...module.children.allTests()];
    const of = (state) => tests.filter((test) => test.result().state === state);
    const failed = of('failed');
    const broken = module.errors().length + [...module.children.allSuites()].flatMap((s) => s.errors()).length;
    const skipped = of('skipped').length;
    // A suite whose hook fails leaves its tests skipped or pending: they did not pass, so the file counts as failed.
    this.#passed += of('passed').length;
    this.#failed += failed.length;
    this.#skipped += skipped;
    if (broken > 0) this.#brokenFiles++;

    const seconds = (module.diagnostic().duration / 1000).toFixed(1);
    const counts = [`${of('passed').length} passed`];
    if (failed.length > 0) counts.push(`${failed.length} failed`);
    if (skipped > 0) counts.push(`${skipped} skipped`);
    const word = failed.length + broken > 0 ? 'FAIL' : skipped > 0 && skipped === tests.length ? 'skip' : 'ok  ';
    const progress = `[${++this.#filesDone} of ${this.#files}, ${elapsed(Date.now() - this.#startedMs)}]`;
    this.#write(`${word} ${progress} ${module.relativeModuleId} (${counts.join(', ')}, ${seconds} s)`);
    for (const test of of('passed')) {
      if (test.diagnostic()?.flaky) this.#repeated(module, test.fullName, test.result().errors ?? []);
    }
    for (const test of failed) this.#failure(module, test.fullName, test.result().errors ?? [], true);
    for (const suite of module.children.allSuites()) {
      if (suite.errors().length > 0) this.#failure(module, suite.fullName, suite.errors());
    }
    if (module.errors().length > 0) this.#failure(module, 'the file itself', module.errors());
  }

  /** A test that passed when it was repeated: it counts as passed, and what it met is not hidden. */
  #repeated(module, name, errors) {
    this.#write(`\nREPEATED ${module.relativeModuleId} > ${name}`);
    for (const { message } of errors) this.#write(`  ${stripVTControlCharacters(String(message)).slice(0, 500)}`);
  }

  onTestRunEnd(modules, unhandledErrors) {
    this.#unhandled = unhandledErrors.length;
    for (const error of unhandledErrors) {
      this.#write('FAIL an error outside of any test');
      this.#failures.push('an error outside of any test');
      this.#printError(error);
    }
    for (const module of modules) {
      if (module.state() === 'pending' || module.state() === 'queued') {
        this.#brokenFiles++;
        this.#write(`FAIL ${module.relativeModuleId} did not run to its end`);
        this.#failures.push(`${module.relativeModuleId} did not run to its end`);
      }
    }
  }

  onUserConsoleLog(log) {
    // Output of a test helps only beside its failure: kept short, marked, and never lost.
    for (const line of log.content.replace(/\n$/, '').split('\n')) this.#write(`  | ${line}`);
  }

  /** What failed, by name: after a long output nobody scrolls back for it. */
  get failures() {
    return this.#failures;
  }

  get passed() {
    return this.#passed;
  }

  get failed() {
    return this.#failed + this.#brokenFiles + this.#unhandled;
  }

  get skipped() {
    return this.#skipped;
  }

  #failure(module, title, errors, isTest = false) {
    this.#write(`\nFAIL ${module.relativeModuleId} > ${title}`);
    this.#failures.push(`${module.relativeModuleId} > ${title}`);
    for (const error of errors) this.#printError(error);
    const only = isTest ? ` -t ${namePattern(title)}` : '';
    this.#write(`  rerun: npx vitest run --project ${module.project.name} ${module.relativeModuleId}${only}\n`);
  }

  #printError(error) {
    const name = error.name ?? 'Error';
    this.#indent(`${name}: ${error.message ?? String(error)}`);
    if (error.diff) this.#indent(error.diff);
    const frames = (error.stacks ?? []).slice(0, MAX_STACK_LINES);
    if (frames.length > 0) {
      for (const f of frames)
        this.#write(`    at ${f.method || '<module>'} (${this.#short(f.file)}:${f.line}:${f.column})`);
    } else if (error.stack) {
      this.#indent(error.stack.split('\n').slice(1, MAX_STACK_LINES).join('\n'));
    }
    if (error.cause !== undefined) {
      this.#write('  caused by');
      this.#printError(
        typeof error.cause === 'object' && error.cause !== null ? error.cause : { message: String(error.cause) },
      );
    }
  }

  #short(file) {
    return file.startsWith(`${this.#root}/`) ? file.slice(this.#root.length + 1) : file;
  }

  #indent(text) {
    for (const line of stripVTControlCharacters(String(text)).split('\n')) this.#write(`  ${line}`);
  }
}

/** Minutes and seconds. @param {number} ms */
function elapsed(ms) {
  const seconds = Math.floor(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

/**
 * The full name of a test as a quoted pattern for `-t`, which joins suites and test with spaces.
 * @param {string} title
 */
function namePattern(title) {
  return `'${title.replaceAll(' > ', ' ').replace(/[.*+?^${}()|[\]\\']/g, '.')}'`;
}
