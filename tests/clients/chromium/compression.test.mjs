// Compressed messages in a browser, which offers compression by itself; beside it one client that does not.

import { BrowserClients } from '../support/browser_clients.mjs';
import { compressionScenarios } from '../support/compression_scenarios.mjs';

compressionScenarios({ compressing: ['pusher-js', 'laravel-echo'], plain: ['ws-plain'] }, () => BrowserClients.launch());
