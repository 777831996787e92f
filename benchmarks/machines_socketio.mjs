// A machine of Socket.IO: publishes each message in the room that it names, and lets sockets join rooms.
import { createServer } from "node:http";
import { Server } from "socket.io";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";

const pub = createClient({ url: process.argv[2] });
const sub = pub.duplicate();
for (const client of [pub, sub]) {
  client.on("error", () => {});
}
await Promise.all([pub.connect(), sub.connect()]);

const http = createServer();
const io = new Server(http, { adapter: createAdapter(pub, sub), pingInterval: 600000 });
io.on("connection", (socket) => {
  socket.on("s", (room, done) => {
    socket.join(room);
    done();
  });
  socket.on("p", (message) => {
    io.to(message.slice(1, 9)).emit("m", message);
  });
});
http.listen(0, "127.0.0.1", () => console.log(`127.0.0.1:${http.address().port}`));
process.stdin.on("end", () => process.exit(0)).resume();
