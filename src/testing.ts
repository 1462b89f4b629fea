/** For users' own tests: stores that fail on purpose, time and randomness under control. Named re-exports only. */
export type { Clock, Timer } from './common/clock.ts';
export { ManualClock } from './common/manual-clock.ts';
export { nextFloat, nextInt, type Random, SeededRandom } from './common/random.ts';
export {
  type FaultAction,
  type FaultOperation,
  type FaultRule,
  FaultyStore,
  type FaultyStoreOptions,
} from './store/faulty-store.ts';
export { type LatencyOptions, latencyStore, type StoreOperation } from './store/latency-store.ts';
export {
  type ContractCheck,
  type MakeStore,
  type StoreContractOptions,
  storeContract,
} from './store/store-contract.ts';
