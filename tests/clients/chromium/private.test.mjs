// Private and encrypted channels, with both clients in a browser.

import { BrowserClients } from '../support/browser_clients.mjs';
import { privateScenarios } from '../support/private_scenarios.mjs';

for (const kind of ['pusher-js', 'laravel-echo']) privateScenarios(kind, () => BrowserClients.launch());
