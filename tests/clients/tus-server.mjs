// The bench's peer: @tus/server in front of @tus/file-store. Usage: node tus-server.mjs FOLDER; prints its port.
import { FileStore } from "@tus/file-store";
import { Server } from "@tus/server";

const server = new Server({ path: "/files", datastore: new FileStore({ directory: process.argv[2] }) });
const listening = server.listen({ host: "127.0.0.1", port: 0 }, () => console.log(listening.address().port));
