// Compressed messages in Node. pusher-js offers no compression there; `ws` does.

import { compressionScenarios } from '../support/compression_scenarios.mjs';
import { NodeClients } from '../support/node_clients.mjs';

compressionScenarios({ compressing: ['ws'], plain: ['ws-plain', 'pusher-js'] }, () => new NodeClients());
