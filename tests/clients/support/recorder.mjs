// One client, pusher-js or laravel-echo, and everything that it heard. The same file runs in Node and in a browser,
// and knows neither: it is given the clients' constructors.

/** A client as an application would set it up. */
export class Recorder {
    /** `backEnd` is where channels and users are signed for, `user` is who is logged in there. */
    constructor({ kind, Pusher, Echo, key, port, backEnd = '', user = 'nobody', options = {} }) {
        const channels = `${backEnd}/broadcasting/auth`;
        const users = `${backEnd}/broadcasting/user-auth`;
        const common = { wsHost: '127.0.0.1', wsPort: port, forceTLS: false, ...options };
        if (kind === 'laravel-echo') {
            // As `php artisan install:broadcasting` writes it for Reverb. Echo writes into the headers it is given.
            const transports = { wssPort: port, enabledTransports: ['ws', 'wss'] };
            const userAuthentication = { endpoint: users, headers: {} };
            const auth = { authEndpoint: channels, auth: { headers: {} }, userAuthentication, bearerToken: user };
            this.echo = new Echo({ broadcaster: 'reverb', key, Pusher, ...transports, ...auth, ...common });
            this.pusher = this.echo.connector.pusher;
        } else {
            const headers = { Authorization: `Bearer ${user}` };
            const channelAuthorization = { endpoint: channels, transport: 'ajax', headers };
            const userAuthentication = { endpoint: users, transport: 'ajax', headers };
            const auth = { channelAuthorization, userAuthentication };
            this.pusher = new Pusher(key, { cluster: '', enabledTransports: ['ws'], ...auth, ...common });
        }
        /** Every message of the server, as it came. */
        this.messages = [];
        /** Every event as the application is told. */
        this.events = [];
        this.states = [];
        this.errors = [];
        this.watchers = new Set();
        const connection = this.pusher.connection;
        connection.bind('message', (message) => this.#note(this.messages, message));
        connection.bind('state_change', ({ current }) => this.#note(this.states, current));
        connection.bind('error', (error) => this.#note(this.errors, error.data ?? error.error?.data ?? String(error)));
    }

    /** Waits until it is connected and tells the socket id. */
    async connected() {
        await this.#until(() => this.pusher.connection.state === 'connected');
        return this.echo ? this.echo.socketId() : this.pusher.connection.socket_id;
    }

    async reaches(state) {
        await this.#until(() => this.pusher.connection.state === state);
        const { states, errors, pusher } = this;
        // How long it chose to wait before it comes back, in milliseconds; of several times the first to pass counts.
        const waits = pusher.timeline.events.filter(({ action }) => action === 'retry').map(({ delay }) => delay);
        return { states, errors, waits, willRetry: Boolean(this.pusher.connection.retryTimer) };
    }

    /** Subscribes and waits for the server's word. */
    async subscribe(name) {
        const before = this.#confirmations(name);
        const hear = (event, data) => this.#note(this.events, { channel: name, event, data });
        if (this.echo) {
            this.#echoChannel(name).listenToAll((event, data) => hear(event.replace(/^\./, ''), data));
        } else {
            this.pusher.subscribe(name).bind_global((event, data) => event.startsWith('pusher:') || hear(event, data));
        }
        await this.#until(() => this.#confirmations(name) > before);
    }

    /** Joins a presence channel; notes `here`, `joining` and `leaving` with what is known of the members. */
    async join(name) {
        const hear = (event) => (data) => this.#note(this.events, { channel: name, event, data });
        if (this.echo) {
            const channel = this.#echoChannel(name);
            channel.here(hear('here')).joining(hear('joining')).leaving(hear('leaving'));
        } else {
            const channel = this.pusher.subscribe(name);
            channel.bind('pusher:subscription_succeeded', ({ members }) => hear('here')(Object.values(members)));
            channel.bind('pusher:member_added', ({ info }) => hear('joining')(info));
            channel.bind('pusher:member_removed', ({ info }) => hear('leaving')(info));
        }
        await this.confirmations(name, 1);
    }

    /** Subscribes to what the server will refuse, and tells what the channel's error handler was told. */
    async refusal(name) {
        const told = [];
        const hear = (error) => this.#note(told, error);
        if (this.echo) this.#echoChannel(name).error(hear);
        else this.pusher.subscribe(name).bind('pusher:subscription_error', hear);
        await this.#until(() => told.length > 0);
        return told;
    }

    /** Signs in as whoever is logged in; waits until the server has confirmed the user and the user's own channel. */
    async signIn() {
        const { user } = this.pusher;
        for (const event of ['online', 'offline']) {
            user.watchlist.bind(event, ({ user_ids: ids }) => this.#note(this.events, { channel: 'watchlist', event, data: ids }));
        }
        user.bind_global((event, data) => event.startsWith('pusher:') || this.#note(this.events, { channel: 'user', event, data }));
        if (this.echo) this.echo.connector.signin();
        else this.pusher.signin();
        await this.signIns(1);
        return user.user_data;
    }

    /** Asks to be signed in, and does not wait. */
    trySignIn() {
        this.pusher.signin();
    }

    /** Waits until it is known as its user for that many times: it signs in again with each connection. */
    async signIns(count) {
        const isOwn = ({ event, channel }) => event === 'pusher_internal:subscription_succeeded'
            && channel?.startsWith('#server-to-user-');
        await this.#until(() => this.messages.filter(isOwn).length >= count);
    }

    /** Whom the client takes itself for on a presence channel. */
    memberId(channel) {
        return this.pusher.channel(channel).members.myID;
    }

    /** Sends an event to the others of a channel that it is on. */
    whisper(name, event, data) {
        if (this.echo) this.#echoChannel(name).whisper(event, data);
        else this.pusher.channel(name).trigger(`client-${event}`, data);
    }

    /** Notes such events as `whisper:EVENT`. */
    listenForWhisper(name, event) {
        const hear = (data, metadata) => {
            this.#note(this.events, { channel: name, event: `whisper:${event}`, data, userId: metadata?.user_id });
        };
        if (this.echo) this.#echoChannel(name).listenForWhisper(event, hear);
        else this.pusher.channel(name).bind(`client-${event}`, hear);
    }

    /** Says something that the client would not say by itself. */
    say(event, data, channel) {
        this.pusher.send_event(event, data, channel);
    }

    /** Waits until the server has sent an error with this code, and tells it. */
    async error(code) {
        const found = () => this.errors.find((error) => error.code === code);
        await this.#until(found);
        return found();
    }

    /** Drops the connection and makes a new one; tells the new socket id. */
    async reconnect() {
        this.pusher.disconnect();
        this.pusher.connect();
        return this.connected();
    }

    state() {
        return this.pusher.connection.state;
    }

    /** Listens as a Laravel application does, to one event by its class. Notes such events as `listen:EVENT`. */
    listen(channel, event) {
        const hear = (data) => this.#note(this.events, { channel, event: `listen:${event}`, data });
        this.echo.channel(channel).listen(event, hear);
    }

    /** Unsubscribes, and waits until the server has surely read it: there is an answer to a ping only. */
    async unsubscribe(name) {
        if (this.echo) this.echo.leaveChannel(name);
        else this.pusher.unsubscribe(name);
        await this.ping();
    }

    async ping() {
        const before = this.pongs();
        this.pusher.send_event('pusher:ping', {});
        await this.#until(() => this.pongs() > before);
    }

    async answersToPings(count) {
        await this.#until(() => this.pongs() >= count);
        return this.pusher.connection.state;
    }

    /** The data of all events on a channel, once the last of them is `event`. */
    async until(channel, event, count = 1) {
        const named = () => this.events.filter((heard) => heard.channel === channel && heard.event === event);
        await this.#until(() => named().length >= count);
        return this.events.filter((heard) => heard.channel === channel);
    }

    /** Calls back for each event from here on. */
    onEvent(callback) {
        let told = this.events.length;
        this.watchers.add(() => this.events.slice(told).forEach((event) => {
            told += 1;
            callback(event);
        }));
    }

    /** The names of the events that the server sent for a channel, heard or not. */
    sent(channel) {
        const own = this.messages.filter((message) => message.channel === channel);
        return own.map((message) => message.event).filter((event) => !event.startsWith('pusher_internal:'));
    }

    /** Waits until the server has sent it, heard or not. */
    async receives(channel, event) {
        await this.#until(() => this.sent(channel).includes(event));
    }

    /** The data of such an event as the server sent it, before the client read it. */
    sentData(channel, event) {
        const own = this.messages.filter((message) => message.channel === channel && message.event === event);
        return own.map((message) => message.data);
    }

    /** Waits until the server has confirmed a subscription that often. */
    async confirmations(channel, count) {
        await this.#until(() => this.#confirmations(channel) >= count);
    }

    pongs() {
        return this.messages.filter((message) => message.event === 'pusher:pong').length;
    }

    close() {
        if (this.echo) this.echo.disconnect();
        else this.pusher.disconnect();
    }

    /** By the method that Echo has for this kind of channel. */
    #echoChannel(name) {
        const kinds = { 'private-encrypted-': 'encryptedPrivate', 'private-': 'private', 'presence-': 'join' };
        const prefix = Object.keys(kinds).find((start) => name.startsWith(start));
        return prefix ? this.echo[kinds[prefix]](name.slice(prefix.length)) : this.echo.channel(name);
    }

    #confirmations(channel) {
        const succeeded = 'pusher_internal:subscription_succeeded';
        return this.messages.filter((message) => message.event === succeeded && message.channel === channel).length;
    }

    #note(list, entry) {
        list.push(entry);
        this.watchers.forEach((watcher) => watcher());
    }

    /** Looks again after everything that happens. (A channel acts on a message before we are told of it.) */
    #until(condition) {
        return new Promise((resolve) => {
            const watcher = () => {
                if (!condition()) return;
                this.watchers.delete(watcher);
                queueMicrotask(resolve);
            };
            this.watchers.add(watcher);
            watcher();
        });
    }
}
