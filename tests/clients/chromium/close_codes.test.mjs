// pusher-js in a browser, after each close code.

import { BrowserClients } from '../support/browser_clients.mjs';
import { closeScenarios } from '../support/close_scenarios.mjs';

closeScenarios(() => BrowserClients.launch());
