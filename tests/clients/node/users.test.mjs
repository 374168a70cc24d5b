// Users, with both clients in Node.

import { NodeClients } from '../support/node_clients.mjs';
import { userScenarios } from '../support/user_scenarios.mjs';

for (const kind of ['pusher-js', 'laravel-echo']) userScenarios(kind, () => new NodeClients());
