// The page at /: a small client of the Pusher protocol, and a form that publishes over the HTTP API.
//
//   Connection    one WebSocket: greets, pings, comes back          (knows no page)
//   show*         what is on the page                               (know no socket)
//   publish       asks the server to sign a request, then sends it like any back end
//   tell.sign     asks the server to sign a subscription, as an application's own back end does

"use strict";

const MOST_EVENTS = 500; // What the list keeps; the count goes on.
const PONG_PATIENCE = 30_000;
const LONGEST_PAUSE = 15_000;

const byId = (id) => document.getElementById(id);

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

// ---- the protocol ----------------------------------------------------------------------------------------------

class Connection {
  constructor(url, channels, tell) {
    this.url = url;
    this.channels = channels;
    this.tell = tell;
    this.attempts = 0;
    this.socketId = null;
    this.open();
  }

  open() {
    this.tell.state("connecting", this.attempts === 0 ? "Connecting…" : "Connecting again…");
    const socket = new WebSocket(this.url);
    this.socket = socket;
    socket.onmessage = (message) => this.socket === socket && this.receive(message.data);
    socket.onclose = (close) => this.socket === socket && this.lost(close.code, close.reason);
    this.expect(LONGEST_PAUSE, () => this.lost(1006, "no answer"));
  }

  // For good: another app was chosen.
  end() {
    this.drop();
    clearTimeout(this.timer);
  }

  drop() {
    const socket = this.socket;
    this.socket = null;
    this.socketId = null;
    if (socket) socket.close();
  }

  expect(time, otherwise) {
    clearTimeout(this.timer);
    this.timer = setTimeout(otherwise, time);
  }

  send(event, data) {
    if (this.socketId) this.socket.send(JSON.stringify({ event, data }));
  }

  async subscribe(channel) {
    const socketId = this.socketId;
    let signed = { auth: "" };
    if (socketId && /^(private|presence)-/.test(channel)) {
      try {
        signed = await this.tell.sign(channel, socketId);
      } catch (error) {
        this.tell.channel(channel, "refused", error.message);
        return;
      }
    }
    // Meanwhile it may be another connection, or nobody may want the channel any more.
    if (this.socketId === socketId && this.channels.has(channel)) {
      this.send("pusher:subscribe", { ...signed, channel });
    }
  }

  unsubscribe(channel) {
    this.send("pusher:unsubscribe", { channel });
  }

  receive(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      this.tell.error(`Not a message of the protocol: ${text}`);
      return;
    }
    if (this.socketId) this.listenForSilence();
    const data = decode(message.data);
    switch (message.event) {
      case "pusher:connection_established":
        return this.greeted(data);
      case "pusher:ping":
        return this.send("pusher:pong", {});
      case "pusher:pong":
        return;
      case "pusher:error":
        return this.tell.error(`${data.message ?? "Error"}${data.code ? ` (${data.code})` : ""}`);
      case "pusher_internal:subscription_succeeded":
        return this.tell.channel(message.channel, "subscribed");
      case "pusher:subscription_error":
        return this.tell.channel(message.channel, "refused", data.error);
      default:
        this.tell.event(message.channel, message.event, message.data);
    }
  }

  greeted(data) {
    this.attempts = 0;
    this.socketId = data.socket_id;
    this.activityTimeout = (data.activity_timeout || 120) * 1000;
    this.listenForSilence();
    this.tell.state("connected", "Connected", this.socketId);
    for (const channel of this.channels.keys()) this.subscribe(channel);
  }

  listenForSilence() {
    this.expect(this.activityTimeout, () => {
      this.send("pusher:ping", {});
      this.expect(PONG_PATIENCE, () => this.lost(1006, "the server is silent"));
    });
  }

  // 40xx, and 43xx on: coming back is no use. 42xx: at once. All else: after a pause that doubles.
  lost(code, reason) {
    this.drop();
    const why = reason || (code === 1006 ? "the connection was lost" : `closed with ${code}`);
    if ((code >= 4000 && code < 4100) || code >= 4300) {
      clearTimeout(this.timer);
      this.tell.state("failed", `Refused: ${why} (${code})`);
      return;
    }
    const isAtOnce = code >= 4200 && this.attempts === 0;
    const pause = isAtOnce ? 0 : Math.min(1000 * 2 ** this.attempts, LONGEST_PAUSE);
    this.attempts += 1;
    const when = pause === 0 ? "now" : `in ${Math.round(pause / 1000)} s`;
    this.tell.state("connecting", `Not connected: ${why.replace(/\.$/, "")}. Trying again ${when}.`);
    this.expect(pause, () => this.open());
  }
}

// Data of the protocol's own events is JSON in a string, or an object.
function decode(data) {
  if (typeof data !== "string") return data ?? {};
  try {
    return JSON.parse(data) ?? {};
  } catch {
    return {};
  }
}

// ---- what is on the page ---------------------------------------------------------------------------------------

const channels = new Map(); // name -> "pending", "subscribed" or "refused"; in the order they were asked for
let server = { path: "", apps: [] };
let app = null;
let connection = null;
let count = 0;

const tell = {
  state(state, text, socketId = "") {
    byId("dot").dataset.state = state;
    byId("state").textContent = text;
    byId("socket").textContent = socketId;
    if (state === "connected") {
      showNotice("");
    } else {
      for (const channel of channels.keys()) channels.set(channel, "pending");
      showChannels();
    }
  },
  error: showNotice,
  channel(channel, state, reason) {
    if (!channels.has(channel)) return;
    channels.set(channel, state);
    showChannels();
    showEmpty();
    if (state === "refused") showNotice(`${channel}: ${reason || "the subscription was refused"}`);
  },
  event: showEvent,
  async sign(channel, socketId) {
    const body = JSON.stringify({ app: app.id, socket_id: socketId, channel });
    return JSON.parse(await post("dashboard/auth", body, { "X-Stentor": "dashboard" }));
  },
};

function showNotice(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = !text;
}

function showChannels() {
  const items = [...channels].map(([channel, state]) => {
    const item = make("li");
    item.dataset.state = state;
    item.append(make("span", "", channel));
    if (state === "pending") item.title = "Waiting for the server";
    const remove = make("button", "", "×");
    remove.type = "button";
    remove.setAttribute("aria-label", `Unsubscribe from ${channel}`);
    remove.addEventListener("click", () => unsubscribe(channel));
    item.append(remove);
    return item;
  });
  byId("channels").replaceChildren(...items);
}

function showEmpty() {
  const names = [...channels.keys()];
  const channel = names[0];
  const empty = byId("empty");
  empty.hidden = byId("list").childElementCount > 0;
  if (channel === undefined) {
    empty.textContent = "You are on no channel. Subscribe to one and its events appear here.";
    return;
  }
  const elsewhere = location.port === "8080" ? "" : ` --url ${location.origin}${server.path}`;
  const command = `stentor trigger ${shellQuoted(channel)} greeting '{"hello":1}'${elsewhere}`;
  empty.replaceChildren("Nothing yet. Publish to ", make("code", "", channel), ", here or by ", make("code", "", command), ".");
}

function showEvent(channel, event, data) {
  count += 1;
  byId("count").textContent = String(count);
  const item = make("li");
  const what = make("div", "what");
  const now = new Date();
  const time = make("time", "", now.toTimeString().slice(0, 8));
  time.dateTime = now.toISOString();
  what.append(make("span", "name", event), make("span", "channel", channel ?? ""), time);
  item.append(what, make("pre", "", pretty(data)));
  const list = byId("list");
  list.prepend(item);
  while (list.childElementCount > MOST_EVENTS) list.lastElementChild.remove();
  showEmpty();
}

function pretty(data) {
  if (data === undefined) return "";
  try {
    return JSON.stringify(typeof data === "string" ? JSON.parse(data) : data, null, 2);
  } catch {
    return data;
  }
}

function showSnippets() {
  const isTls = location.protocol === "https:";
  const port = Number(location.port) || (isTls ? 443 : 80);
  const host = JSON.stringify(location.hostname);
  const options = [
    `wsHost: ${host}, wsPort: ${port},`,
    `wssPort: ${port}, forceTLS: ${isTls},`,
    ...(server.path ? [`wsPath: ${JSON.stringify(server.path)},`] : []),
    `enabledTransports: ["ws", "wss"],`,
  ].join("\n  ");
  const key = JSON.stringify(app.key);
  byId("echo").textContent = `window.Echo = new Echo({\n  broadcaster: "reverb", key: ${key},\n  ${options}\n});`;
  byId("pusher").textContent = `const pusher = new Pusher(${key}, {\n  cluster: "",\n  ${options}\n});`;
}

// ---- what one can do -------------------------------------------------------------------------------------------

function subscribe(channel) {
  if (channels.get(channel) !== "subscribed") channels.set(channel, "pending");
  showChannels();
  showEmpty();
  connection?.subscribe(channel);
}

function unsubscribe(channel) {
  channels.delete(channel);
  showChannels();
  showEmpty();
  connection?.unsubscribe(channel);
  byId("channel").focus();
}

async function publish() {
  const request = { name: byId("event").value.trim(), channels: [byId("to").value.trim()], data: byId("data").value };
  if (byId("others").checked && connection?.socketId) request.socket_id = connection.socketId;
  const path = `${server.path}/apps/${encodeURIComponent(app.id)}/events`;
  const body = JSON.stringify(request);
  const signed = await post("dashboard/sign", JSON.stringify({ app: app.id, path, body }), { "X-Stentor": "dashboard" });
  const url = new URL(`${path}?${JSON.parse(signed).query}`, location.href).href;
  byId("curl").textContent =
    `curl -X POST -H 'Content-Type: application/json' \\\n  -d ${shellQuoted(body)} \\\n  ${shellQuoted(url)}`;
  byId("call").hidden = false;
  await post(url, body, {});
}

async function post(url, body, headers) {
  let response;
  try {
    response = await fetch(url, { method: "POST", body, headers: { "Content-Type": "application/json", ...headers } });
  } catch {
    throw new Error("The server cannot be reached.");
  }
  const text = await response.text();
  if (!response.ok) throw new Error(`${response.status}: ${decode(text).error || text || response.statusText}`);
  return text;
}

function shellQuoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function showResult(state, text) {
  byId("result").dataset.state = state;
  byId("result").textContent = text;
}

async function copy(button) {
  const source = byId(button.dataset.copy);
  let word = "Copied";
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    // No clipboard outside https and localhost: mark the text, so that one key copies it.
    getSelection().selectAllChildren(source);
    word = "Selected";
  }
  button.textContent = word;
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function choose(chosen) {
  connection?.end();
  app = chosen;
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const query = "protocol=7&client=stentor-page&version=1";
  const url = `${scheme}://${location.host}${server.path}/app/${encodeURIComponent(app.key)}?${query}`;
  connection = new Connection(url, channels, tell);
  showSnippets();
}

function listenToThePage() {
  byId("subscribe").addEventListener("submit", (submit) => {
    submit.preventDefault();
    const channel = byId("channel").value.trim();
    if (channel) subscribe(channel);
  });
  byId("publish").addEventListener("submit", async (submit) => {
    submit.preventDefault();
    byId("send").disabled = true;
    showResult("busy", "Publishing…");
    try {
      await publish();
      showResult("good", `Published to ${byId("to").value.trim()}.`);
    } catch (error) {
      showResult("bad", error.message);
    } finally {
      byId("send").disabled = false;
    }
  });
  byId("data").addEventListener("input", () => {
    byId("kind").textContent = isJson(byId("data").value) ? "JSON" : "plain text";
  });
  byId("clear").addEventListener("click", () => {
    count = 0;
    byId("count").textContent = "0";
    byId("list").replaceChildren();
    showEmpty();
  });
  byId("app").addEventListener("change", (change) => choose(server.apps[change.target.selectedIndex]));
  for (const button of document.querySelectorAll(".copy")) button.addEventListener("click", () => copy(button));
}

async function start() {
  listenToThePage();
  try {
    server = await (await fetch("dashboard/apps")).json();
  } catch {
    tell.state("failed", "The server cannot be reached. Reload the page once it runs.");
    return;
  }
  if (server.apps.length === 0) {
    tell.state("failed", "No app is enabled in the settings.");
    return;
  }
  byId("app").replaceChildren(...server.apps.map((one) => make("option", "", `${one.id} · ${one.key}`)));
  byId("pick").hidden = server.apps.length < 2;
  channels.set("news", "pending");
  showChannels();
  choose(server.apps[0]);
}

start();
