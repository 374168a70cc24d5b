// laravel-echo in a browser.

import { BrowserClients } from '../support/browser_clients.mjs';
import { scenarios } from '../support/scenarios.mjs';

scenarios('laravel-echo', () => BrowserClients.launch());
