// Both clients in Node, while the server is restarted.

import { NodeClients } from '../support/node_clients.mjs';
import { reconnects } from '../support/scenarios.mjs';

reconnects(() => new NodeClients());
