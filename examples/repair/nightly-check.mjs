// A check for a timer (cron, systemd, a CI schedule): checks everything, changes nothing, and prints what it found.
// Ends with 0 only if it found nothing, so the timer can raise the alarm.
//
//   npm run build && node examples/repair/nightly-check.mjs [LOCATION]
import { withLocation } from './_damaged-database.mjs';
import { EXIT, shaledb } from './_shaledb.mjs';

const isTrial = process.argv[2] === undefined;

const alarm = await withLocation(async (location) => {
  const { code, documents } = await shaledb('doctor', location, '--quiet', '--redact-keys');
  const [report] = documents;
  if (code === EXIT.clean) {
    console.log(`${location}: clean, ${report.requests} requests in ${report.tookMs} ms`);
    return false;
  }
  if (code === EXIT.unavailable) {
    // Not damage: the next run will show more.
    console.log(`${location}: the store could not be reached: ${report.error.message}`);
    return true;
  }
  if (code !== EXIT.damage || report.type !== 'verify') {
    console.log(`${location}: the check failed with exit code ${code}: ${JSON.stringify(report)}`);
    return true;
  }
  console.log(`${location}: ${report.verdict}, ${report.findings.length} findings`);
  for (const { code: what, object, at, hint } of report.findings) {
    console.log(`  ${what} in ${object.path}, ${at.unit} at ${at.offset}; if repaired, loss: ${hint.lossIfRepaired}`);
  }
  for (const step of report.nextSteps) console.log(`  next: ${step.replaceAll('LOCATION', location)}`);
  return true;
});

// On the database that was damaged on purpose the alarm is the expected result.
process.exitCode = alarm === isTrial ? 0 : 1;
