<?php

// Ratchet for `cargo bench --bench compare`: `php server.php PORT`.
//
// /echo sends each message back to whom it came from; /room sends it to all who are in the room, the sender too.
// Binds loopback alone. With the extension uv it uses libuv, without it select(), which ends at 1,024 connections.

use Ratchet\ConnectionInterface;
use Ratchet\Http\HttpServer;
use Ratchet\MessageComponentInterface;
use Ratchet\Server\IoServer;
use Ratchet\WebSocket\WsServer;
use React\EventLoop\Loop;
use React\Socket\SocketServer;

require __DIR__ . '/vendor/autoload.php';

final class Peer implements MessageComponentInterface
{
    private SplObjectStorage $room;

    public function __construct()
    {
        $this->room = new SplObjectStorage();
    }

    public function onOpen(ConnectionInterface $connection): void
    {
        $connection->isInRoom = $connection->httpRequest->getUri()->getPath() === '/room';
        if ($connection->isInRoom) {
            $this->room->attach($connection);
        }
    }

    public function onMessage(ConnectionInterface $connection, $message): void
    {
        if (!$connection->isInRoom) {
            $connection->send($message);
            return;
        }
        foreach ($this->room as $member) {
            $member->send($message);
        }
    }

    public function onClose(ConnectionInterface $connection): void
    {
        $this->room->detach($connection);
    }

    public function onError(ConnectionInterface $connection, Exception $error): void
    {
        fwrite(STDERR, $error->getMessage() . "\n");
        $connection->close();
    }
}

$loop = Loop::get();
$socket = new SocketServer('127.0.0.1:' . (int) $argv[1], [], $loop);
(new IoServer(new HttpServer(new WsServer(new Peer())), $socket, $loop))->run();
