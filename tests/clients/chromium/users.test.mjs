// Users, with both clients in a browser.

import { BrowserClients } from '../support/browser_clients.mjs';
import { userScenarios } from '../support/user_scenarios.mjs';

for (const kind of ['pusher-js', 'laravel-echo']) userScenarios(kind, () => BrowserClients.launch());
