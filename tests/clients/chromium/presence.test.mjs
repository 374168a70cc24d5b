// Presence channels, with both clients in a browser.

import { BrowserClients } from '../support/browser_clients.mjs';
import { presenceScenarios } from '../support/presence_scenarios.mjs';

for (const kind of ['pusher-js', 'laravel-echo']) presenceScenarios(kind, () => BrowserClients.launch());
