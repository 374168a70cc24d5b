// Bun's WebSocket server for `cargo bench --bench compare`: `bun server.js PORT`.
//
// /echo sends each message back to whom it came from; /room sends it to all who are in the room, the sender too,
// through Bun's own publish and subscribe. Binds loopback alone.

const ROOM = 'room';

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: Number(process.argv[2]),
  fetch(request, server) {
    const { pathname } = new URL(request.url);
    if (pathname !== '/echo' && pathname !== '/room') {
      return new Response('There is /echo and /room.\n', { status: 404 });
    }
    if (server.upgrade(request, { data: { isRoom: pathname === '/room' } })) return;
    return new Response('WebSocket clients only.\n', { status: 426 });
  },
  websocket: {
    // Nothing is closed for being silent, as nothing is at the other servers.
    idleTimeout: 0,
    perMessageDeflate: false,
    open(socket) {
      if (socket.data.isRoom) socket.subscribe(ROOM);
    },
    message(socket, message) {
      if (socket.data.isRoom) server.publish(ROOM, message);
      else socket.send(message);
    },
  },
});
