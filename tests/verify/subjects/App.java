// A sound app for Java, nothing but the JDK; MUTANT in the environment breaks it in a way that is
// common in this language. Started with: java App.java

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

public class App {
    static final String MUTANT = System.getenv().getOrDefault("MUTANT", "");
    static byte[] version;

    static void log(String type, String fields) {
        System.out.printf(
            "{\"Timestamp\":%d000000,\"Type\":\"%s\",\"Logger\":\"java-app\",\"Hostname\":\"host\","
                + "\"EnvVersion\":\"2.0\",\"Severity\":6,\"Pid\":%d,\"Fields\":{%s}}%n",
            System.currentTimeMillis(), type, ProcessHandle.current().pid(), fields);
    }

    static void handle(HttpExchange exchange) throws IOException {
        String method = exchange.getRequestMethod();
        String path = exchange.getRequestURI().getPath();
        byte[] body = {};
        int status = 200;
        switch (path) {
            case "/__version__" -> body = version;
            case "/__heartbeat__" -> status = "down".equals(System.getenv("DATABASE")) ? 503 : 200;
            case "/__lbheartbeat__" -> { }
            case "/slow" -> sleep();
            default -> status = 404;
        }
        if (MUTANT.equals("page-for-every-path")) {  // what a context for "/" does
            status = 200;
            body = "<html><title>App</title></html>".getBytes();
        }
        if (!method.matches("GET|HEAD") && !MUTANT.equals("any-method")) {
            status = 405;
            body = new byte[0];
        }
        boolean hasBody = body.length > 0 && !method.equals("HEAD");
        exchange.sendResponseHeaders(status, hasBody ? body.length : -1);
        if (hasBody) exchange.getResponseBody().write(body);
        exchange.close();
        log("request.summary", String.format(
            "\"agent\":\"\",\"errno\":0,\"lang\":\"\",\"method\":\"%s\",\"path\":\"%s\"", method, path));
    }

    static void sleep() {
        try {
            Thread.sleep(1000);
        } catch (InterruptedException error) {
            throw new IllegalStateException(error);
        }
    }

    public static void main(String[] arguments) throws IOException {
        version = Files.readAllBytes(Path.of(System.getenv("VERSION_FILE")));
        int port = Integer.parseInt(System.getenv("PORT"));
        InetSocketAddress address = MUTANT.equals("loopback")
            ? new InetSocketAddress(InetAddress.getLoopbackAddress(), port)
            : new InetSocketAddress(port);
        HttpServer server = HttpServer.create(address, 0);
        server.createContext("/", App::handle);
        ExecutorService threads = Executors.newCachedThreadPool();
        server.setExecutor(threads);
        if (!MUTANT.equals("drops-requests")) {
            Runtime.getRuntime().addShutdownHook(new Thread(() -> server.stop(5)));
        }
        server.start();
        log("app.start", "\"msg\":\"listening\"");
    }
}
