/** Builds the programs of the test cluster, which takes minutes the first time and says so: done before the tests, which have no patience. */
import { clusterTools } from './tools.ts';

await clusterTools();
