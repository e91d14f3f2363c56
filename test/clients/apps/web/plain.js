// An app without LiveKit's components.
import { main } from './send.js';

main({});
