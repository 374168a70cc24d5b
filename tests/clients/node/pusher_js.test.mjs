// pusher-js in Node.

import { NodeClients } from '../support/node_clients.mjs';
import { scenarios } from '../support/scenarios.mjs';

scenarios('pusher-js', () => new NodeClients());
