// laravel-echo in Node.

import { NodeClients } from '../support/node_clients.mjs';
import { scenarios } from '../support/scenarios.mjs';

scenarios('laravel-echo', () => new NodeClients());
