// Both clients in a browser, in pages of two hosts, at an app that lets in those of one.

import { BrowserClients } from '../support/browser_clients.mjs';
import { admissions, refusals } from '../support/origin_scenarios.mjs';

for (const kind of ['pusher-js', 'laravel-echo']) {
    refusals(kind, () => BrowserClients.launch());
    admissions(kind, () => BrowserClients.launch('localhost'));
}
