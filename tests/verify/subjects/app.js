// A sound app for Node; nothing but its standard library.
const fs = require("fs");
const os = require("os");
const path = require("path");
const version = fs.readFileSync(path.join(__dirname, "version.json"));
const log = (type, fields) =>
  console.log(
    JSON.stringify({
      Timestamp: Date.now() * 1000000,
      Type: type,
      Logger: "node-app",
      Hostname: os.hostname(),
      EnvVersion: "2.0",
      Severity: 6,
      Pid: process.pid,
      Fields: fields,
    }),
  );
const answers = {
  "/__version__": () => [200, version],
  "/__lbheartbeat__": () => [200, ""],
  "/__heartbeat__": () => [process.env.DATABASE === "down" ? 503 : 200, "{}"],
};
const server = require("http").createServer((request, response) => {
  const found = answers[request.url];
  const allowed = ["GET", "HEAD"].includes(request.method);
  const [status, body] = !found ? [404, ""] : allowed ? found() : [405, ""];
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(body);
  log("request.summary", {
    agent: request.headers["user-agent"] || "",
    errno: status < 500 ? 0 : status,
    lang: "",
    method: request.method,
    path: request.url,
  });
});
process.on("SIGTERM", () => server.close());
server.listen(process.env.PORT, "0.0.0.0", () => log("app.start", { msg: "listening" }));
