// Cache channels, with both clients in Node.

import { NodeClients } from '../support/node_clients.mjs';
import { cacheScenarios } from '../support/cache_scenarios.mjs';

for (const kind of ['pusher-js', 'laravel-echo']) cacheScenarios(kind, () => new NodeClients());
