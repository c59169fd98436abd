// Behaves like the specification's own demonstration app: it listens on $PORT, serves the file that
// $VERSION_FILE names, answers the heartbeats with "OK", and knows GET and HEAD only. Started by npm.
const fs = require("fs");
const http = require("http");
const plain = { "Content-Type": "text/plain" };
const routes = {
  "/": (response) => response.writeHead(200, plain).end("hello."),
  "/__heartbeat__": (response) => response.writeHead(200, plain).end("OK"),
  "/__lbheartbeat__": (response) => response.writeHead(200, plain).end("OK"),
  "/__version__": (response) =>
    fs.readFile(process.env.VERSION_FILE, (error, content) =>
      error
        ? response.writeHead(404, plain).end("VERSION_FILE not found")
        : response.writeHead(200, { "Content-Type": "text/json" }).end(content),
    ),
};
const server = http.createServer((request, response) => {
  const route = ["GET", "HEAD"].includes(request.method) && routes[request.url];
  route ? route(response) : response.writeHead(404, plain).end("not found");
});
server.listen(process.env.PORT, () => {
  const Fields = { msg: "listening", port: process.env.PORT };
  const line = { EnvVersion: "2.0", Hostname: "h", Logger: "demo", Pid: process.pid, Severity: 6 };
  console.log(JSON.stringify({ ...line, Timestamp: Date.now() * 1e6, Type: "general", Fields }));
});
