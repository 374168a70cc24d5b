// The package ws for `cargo bench --bench compare`: `node server.js PORT`, which prints the port, for 0 is any.
//
// /echo sends each message back to whom it came from; /room sends it to all who are in the room, the sender too. ws has
// no topics: a room is a loop over its sockets. With bufferutil it unmasks in C. Binds loopback alone.

import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

const server = createServer((_, response) => response.writeHead(426).end('WebSocket clients only.\n'));
const options = { noServer: true, perMessageDeflate: false, clientTracking: false };
const sockets = new WebSocketServer(options);
const room = new Set();

sockets.on('connection', (socket, request) => {
  if (request.url === '/room') {
    room.add(socket);
    socket.on('close', () => room.delete(socket));
    socket.on('message', (message, binary) => {
      for (const member of room) member.send(message, { binary });
    });
  } else {
    socket.on('message', (message, binary) => socket.send(message, { binary }));
  }
  socket.on('error', () => socket.terminate());
});
server.on('upgrade', (request, stream, head) =>
  sockets.handleUpgrade(request, stream, head, socket => sockets.emit('connection', socket, request)));
server.listen(Number(process.argv[2]), '127.0.0.1', () => console.log(server.address().port));
