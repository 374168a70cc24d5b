// The application's own web server: where clients have their channels and themselves signed for. It signs with the
// official SDK, as an application would. It may be another origin than the page, so it answers browsers' questions.
//
//   POST /broadcasting/auth        socket_id, channel_name    →  auth, channel_data, shared_secret
//   POST /broadcasting/user-auth   socket_id                  →  auth, user_data
//
// Under `/forged-…/` the same, signed wrongly in one way; under `/unnamed/` presence channels are signed without
// channel_data, for those who have signed in.

import http from 'node:http';

import { PusherSdk } from './packages.mjs';
import { APPS } from './server.mjs';

/** Who may be logged in; the name is the bearer token. */
const USERS = {
    nobody: { id: '0', info: {} },
    ann: { id: '7', info: { name: 'Ann', tag: 'Zürich / <b>' }, watchlist: ['8', '9'] },
    bob: { id: '8', info: { name: 'Bob' } },
    // An id that is a number must stay one.
    cyd: { id: 9, info: { name: 'Cyd' } },
};

/** Ways to sign wrongly: what is given to the SDK in place of the truth. */
const FORGERIES = {
    'forged-secret': { secret: 'not-the-secret' },
    'forged-key': { key: APPS[1].key },
    'forged-socket': { socketId: '1.1' },
    'forged-channel': { channel: 'private-another' },
};
export const FORGED = Object.keys(FORGERIES);

const CORS = {
    'Access-Control-Allow-Origin': '*',
    'Access-Control-Allow-Methods': 'POST',
    'Access-Control-Allow-Headers': 'authorization, content-type',
};

/** Two keys for encrypted channels, of 32 octets each. */
export const MASTER_KEYS = [7, 8].map((octet) => Buffer.alloc(32, octet).toString('base64'));

export class BackEnd {
    static async start() {
        const backEnd = new BackEnd();
        /** What was asked of it, in order. */
        backEnd.asked = [];
        [backEnd.encryptionMasterKeyBase64] = MASTER_KEYS;
        backEnd.http = http.createServer((request, response) => backEnd.#serve(request, response));
        await new Promise((resolve) => backEnd.http.listen(0, '127.0.0.1', resolve));
        backEnd.url = `http://127.0.0.1:${backEnd.http.address().port}`;
        return backEnd;
    }

    async stop() {
        this.http.closeAllConnections();
        await new Promise((resolve) => this.http.close(resolve));
    }

    /** What was asked about a channel. */
    askedFor(channel) {
        return this.asked.filter((asked) => asked.channel === channel);
    }

    async #serve(request, response) {
        if (request.method === 'OPTIONS') return response.writeHead(204, CORS).end();
        let body = '';
        for await (const piece of request) body += piece;
        const fields = new URLSearchParams(body);
        const [, forgery] = /^\/(forged-\w+)\//.exec(request.url) ?? [];
        const name = request.headers.authorization?.replace(/^Bearer /, '');
        const asked = { name, socketId: fields.get('socket_id'), channel: fields.get('channel_name') };
        this.asked.push(asked);
        const answer = this.#answer(request.url, { ...asked, ...FORGERIES[forgery] });
        const status = answer ? 200 : 403;
        return response.writeHead(status, { ...CORS, 'Content-Type': 'application/json' }).end(JSON.stringify(answer));
    }

    #answer(url, { name, socketId, channel, key = APPS[0].key, secret = APPS[0].secret }) {
        const user = USERS[name];
        if (!user) return null;
        const { encryptionMasterKeyBase64 } = this;
        const sdk = new PusherSdk({ appId: APPS[0].id, key, secret, host: 'unused', encryptionMasterKeyBase64 });
        if (url.endsWith('/broadcasting/user-auth')) {
            const { id, info, watchlist } = user;
            return sdk.authenticateUser(socketId, { id: String(id), user_info: info, watchlist });
        }
        const isNamed = channel.startsWith('presence-') && !url.startsWith('/unnamed/');
        const member = isNamed ? { user_id: user.id, user_info: user.info } : undefined;
        return sdk.authorizeChannel(socketId, channel, member);
    }
}
