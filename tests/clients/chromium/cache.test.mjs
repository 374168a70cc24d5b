// Cache channels, with both clients in a browser.

import { BrowserClients } from '../support/browser_clients.mjs';
import { cacheScenarios } from '../support/cache_scenarios.mjs';

for (const kind of ['pusher-js', 'laravel-echo']) cacheScenarios(kind, () => BrowserClients.launch());
