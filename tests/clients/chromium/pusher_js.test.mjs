// pusher-js in a browser.

import { BrowserClients } from '../support/browser_clients.mjs';
import { scenarios } from '../support/scenarios.mjs';

scenarios('pusher-js', () => BrowserClients.launch());
