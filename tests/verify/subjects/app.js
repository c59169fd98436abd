// A sound app for Node, nothing but its standard library; MUTANT in the environment breaks it in a way
// that is common in this language.
const fs = require("fs");
const os = require("os");
const path = require("path");
const mutant = process.env.MUTANT || "";
const version = fs.readFileSync(path.join(__dirname, "version.json"));
const log = (type, fields) =>
  mutant === "text-logs" ? console.log(type, fields) :
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
  "/slow": () => [200, ""],
  "/__heartbeat__": () => [process.env.DATABASE === "down" ? 503 : 200, "{}"],
};
const server = require("http").createServer((request, response) => {
  const found = answers[request.url];
  const allowed = ["GET", "HEAD"].includes(request.method);
  const [status, body] = !found ? [404, ""] : allowed ? found() : [405, ""];
  const answer = () => {
    if (mutant === "page-for-every-path" && allowed) {
      response.writeHead(200, { "Content-Type": "text/html" }).end("<title>App</title>");
    } else {
      response.writeHead(status, { "Content-Type": "application/json" }).end(body);
    }
  };
  setTimeout(answer, request.url === "/slow" ? 1000 : 0);
  log("request.summary", {
    agent: request.headers["user-agent"] || "",
    errno: status < 500 ? 0 : status,
    lang: "",
    method: request.method,
    path: request.url,
  });
});
process.on("SIGTERM", () => server.close());
const host = mutant === "localhost" ? "localhost" : "0.0.0.0";
server.listen(process.env.PORT, host, () => log("app.start", { msg: "listening" }));
