// Both clients in Node, which send no origin, at an app that lets in pages of one host alone.

import { NodeClients } from '../support/node_clients.mjs';
import { refusals } from '../support/origin_scenarios.mjs';

for (const kind of ['pusher-js', 'laravel-echo']) refusals(kind, () => new NodeClients());
