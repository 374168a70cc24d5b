// Presence channels, with both clients in Node.

import { NodeClients } from '../support/node_clients.mjs';
import { presenceScenarios } from '../support/presence_scenarios.mjs';

for (const kind of ['pusher-js', 'laravel-echo']) presenceScenarios(kind, () => new NodeClients());
