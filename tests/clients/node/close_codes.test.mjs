// pusher-js in Node, after each close code.

import { NodeClients } from '../support/node_clients.mjs';
import { closeScenarios } from '../support/close_scenarios.mjs';

closeScenarios(() => new NodeClients());
