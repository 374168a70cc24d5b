// Private and encrypted channels, with both clients in Node.

import { NodeClients } from '../support/node_clients.mjs';
import { privateScenarios } from '../support/private_scenarios.mjs';

for (const kind of ['pusher-js', 'laravel-echo']) privateScenarios(kind, () => new NodeClients());
