// Both clients in a browser, while the server is restarted.

import { BrowserClients } from '../support/browser_clients.mjs';
import { reconnects } from '../support/scenarios.mjs';

reconnects(() => BrowserClients.launch());
