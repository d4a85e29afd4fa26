/** Fetches a guest in a process of its own. */
import { fetchGuest } from '../../../main/guests/index.ts';

process.send!(await fetchGuest('debian', JSON.parse(process.argv[2])));
process.disconnect();
