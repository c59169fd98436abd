"""Servers of the tests' own, on free ports, to be broken as in production.

Any test folder can use their fixtures, such as ``postgres`` and ``redis_server``, which are in
tests/conftest.py: started once, and mended before each test that asks for them.
"""

import abc
import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 60.0  # for what should take no time at all, on a busy machine
# For a server to notice that a connection was closed: less than until a thread of the pool that
# nobody needs ends, with what it left open.
NOTICE = 15.0


# Of pytest-xdist's processes, of which each takes ports of its own.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def free_port() -> int:
    """A port for a server yet to be started, which nobody else is given meanwhile.

    The kernel would give its own to other tests' servers and clients too.
    """
    while True:
        port = 10_000 + WORKER + WORKERS * secrets.randbelow(20_000 // WORKERS)
        with contextlib.suppress(OSError), socket.socket() as free:
            free.bind(("127.0.0.1", port))
            return port


def find(*names: str) -> list[str]:
    """The paths of these programs. Skips the test without them, but fails it in the CI."""
    folders = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    # Debian's rabbitmq-server on the path is a script for the system's service.
    folders += ["/usr/sbin", os.environ.get("PATH", ""), "/usr/lib/rabbitmq/bin"]
    path = os.pathsep.join(reversed(folders))
    found = [shutil.which(name, path=path) for name in names]
    if None not in found:
        return found
    reason = f"needs {' and '.join(names)}"
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, which the CI has to have")
    pytest.skip(reason)


def wait_for(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    end = time.monotonic() + patience
    while not (result := condition()):
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.02)
    return result


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(child) for child in text.split()]
    return []


class Service(abc.ABC):
    """A server process in a folder of its own, which is its own user's if root runs the tests."""

    user: str | None = None
    stdin = subprocess.DEVNULL
    stop_signal = signal.SIGINT

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="dockerflow-"))
        self.process: subprocess.Popen[bytes] | None = None
        self.paused = False
        self.options: dict[str, Any] = {}
        if self.user and os.geteuid() == 0:
            account = pwd.getpwnam(self.user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self.options = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    @abc.abstractmethod
    def command(self) -> list[str]: ...

    @abc.abstractmethod
    def answers(self) -> bool: ...

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=self.folder, stdin=self.stdin, stdout=log, stderr=log,
                start_new_session=True, **self.options,
            )  # fmt: skip
        process = self.process

        def is_up() -> bool:
            log = self.folder / "log"
            assert process.poll() is None, log.read_text(encoding="utf-8", errors="replace")
            return self.answers()

        wait_for(is_up, f"start of {self.command()}")

    def stop(self, how: signal.Signals | None = None) -> None:
        self.resume()
        if self.process is None:
            return
        children = _children(self.process.pid)
        self.process.send_signal(how or self.stop_signal)
        self.process.wait(PATIENCE)
        self.process = None
        for child in children:  # these notice that their parent was killed
            wait_for(lambda child=child: not Path(f"/proc/{child}").exists(), "end of a child")

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let it still accept connections, as the kernel does that, but never answer."""
        self.paused = True
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        if self.paused:
            self._signal(signal.SIGCONT)
            self.paused = False

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        for pid in (self.process.pid, *_children(self.process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def mend(self) -> None:
        self.resume()
        if self.process is None:
            self.start()

    def close(self) -> None:
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


class Postgres(Service):
    """PostgreSQL with the superuser ``admin`` and the user ``app``, who has a database ``app``."""

    user = "postgres"
    password = "p@ss/word-of-app"
    max_connections = 13  # three of them for superusers

    def __init__(self) -> None:
        initdb, self.program = find("initdb", "postgres")
        super().__init__()
        self.data = self.folder / "data"
        secret = self.folder / "secret"
        secret.write_text(self.password, encoding="ascii")
        secret.chmod(0o644)
        subprocess.run(
            [initdb, "--pgdata", self.data, "--username", "admin", "--auth", "scram-sha-256",
             "--pwfile", secret, "--no-sync", "--encoding", "UTF8", "--locale", "C"],
            cwd=self.folder, stdin=subprocess.DEVNULL, check=True, capture_output=True, **self.options,
        )  # fmt: skip
        self.start()
        self.execute(f"CREATE ROLE app LOGIN PASSWORD '{self.password}'")
        self.execute("CREATE DATABASE app OWNER app")

    def command(self) -> list[str]:
        settings = {
            "port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "",
            "fsync": "off", "max_connections": self.max_connections, "shared_buffers": "16MB",
            "superuser_reserved_connections": 3, "autovacuum": "off", "max_wal_senders": 0,
        }  # fmt: skip
        return [
            self.program, "-D", str(self.data),
            *(part for key, value in settings.items() for part in ("-c", f"{key}={value}")),
        ]  # fmt: skip

    def connect(self, user: str = "admin", dbname: str = "postgres") -> Any:
        import psycopg

        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=user, password=self.password, dbname=dbname,
            autocommit=True, connect_timeout=10,
        )  # fmt: skip

    def execute(self, statement: str) -> Any:
        with self.connect() as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else None

    def answers(self) -> bool:
        import psycopg

        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def url(self, driver: str = "postgresql+psycopg", password: str | None = None) -> Any:
        """The URL of the user's database for SQLAlchemy."""
        from sqlalchemy import URL

        return URL.create(
            driver, "app", password or self.password, "127.0.0.1", self.port, database="app"
        )

    def conninfo(self) -> str:
        """The same for the drivers."""
        return self.url("postgresql").render_as_string(hide_password=False)

    def connections(self) -> int:
        """How many connections the user has open."""
        [(count,)] = self.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'")
        return count

    def close_connections(self) -> None:
        self.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
        wait_for(lambda: self.connections() == 0, "end of the user's connections")

    @contextlib.contextmanager
    def out_of_connections(self) -> Iterator[None]:
        """All of the connections that the user could have are taken."""
        self.close_connections()
        with contextlib.ExitStack() as stack:
            for _ in range(self.max_connections - 3 - self.connections()):
                stack.enter_context(self.connect("app", "app"))
            yield

    @contextlib.contextmanager
    def wrong_password(self) -> Iterator[None]:
        """The user's password is another one than its clients have."""
        self.execute("ALTER ROLE app PASSWORD 'another'")
        self.close_connections()
        try:
            yield
        finally:
            self.execute(f"ALTER ROLE app PASSWORD '{self.password}'")

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Writes are refused, as by a standby."""
        self.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        self.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            with self.connect() as admin:
                admin.execute("SET default_transaction_read_only = off")
                admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
                admin.execute("SELECT pg_reload_conf()")

    def mend(self) -> None:
        super().mend()
        self.close_connections()


class RedisServer(Service):
    """Redis, without a password."""

    cluster = False

    def __init__(self) -> None:
        [self.program] = find("redis-server")
        super().__init__()
        self.data = self.folder / "data"
        self.start()

    def start(self) -> None:
        self.data.mkdir(exist_ok=True)
        super().start()

    def command(self) -> list[str]:
        settings = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no",
                    "dir": str(self.data), "cluster-enabled": "yes" if self.cluster else "no",
                    **({"cluster-port": free_port()} if self.cluster else {})}  # fmt: skip
        return [
            self.program,
            *(part for key, value in settings.items() for part in (f"--{key}", str(value))),
        ]

    def client(self, **options: Any) -> Any:
        import redis

        return redis.Redis(
            host="127.0.0.1", port=self.port, decode_responses=True, socket_timeout=10, **options
        )

    def call(self, *command: Any, **options: Any) -> Any:
        with self.client(client_name="tests", **options) as client:
            # Redis' own answer, as the client would make a dict of some.
            client.response_callbacks.clear()
            return client.execute_command(*command)

    def answers(self) -> bool:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        try:
            self.call("ping", retry=Retry(NoBackoff(), 0))
        except redis.ConnectionError:
            return False
        return True

    def connections(self) -> int:
        """How many connections there are but those of ``call``, the last of which may linger."""
        return sum(" name=tests " not in line for line in self.call("client", "list").splitlines())

    @contextlib.contextmanager
    def out_of_connections(self) -> Iterator[None]:
        """The only connection that it takes is taken."""
        with self.client() as admin:
            admin.execute_command("config", "set", "maxclients", 1)
            assert admin.execute_command("client", "kill", "type", "normal")
            try:
                yield
            finally:
                admin.execute_command("config", "set", "maxclients", 1000)

    @contextlib.contextmanager
    def wrong_password(self) -> Iterator[None]:
        """It has a password, which its clients don't have."""
        with self.client() as admin:
            admin.execute_command("config", "set", "requirepass", "another")
            admin.execute_command("auth", "another")
            admin.execute_command("client", "kill", "type", "normal")
            try:
                yield
            finally:
                admin.execute_command("config", "set", "requirepass", "")

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Writes are refused, as by a replica."""
        self.call("replicaof", "127.0.0.1", free_port())
        try:
            yield
        finally:
            self.call("replicaof", "no", "one")

    def mend(self) -> None:
        super().mend()
        self.call("client", "kill", "type", "normal")
        self.call("flushall")


class RedisCluster(RedisServer):
    """A cluster of one node, which has all of the slots."""

    cluster = True

    def start(self) -> None:
        super().start()
        if "cluster_slots_assigned:0" in self.call("cluster", "info"):
            self.call("cluster", "addslotsrange", 0, 16383)
        # After a start it takes part again only after two seconds.
        wait_for(lambda: "cluster_state:ok" in self.call("cluster", "info"), "the cluster")


class RabbitMQ(Service):
    """RabbitMQ with the user ``app``, whose orders come from a shell of Erlang on its input.

    It starts slowly. So this stops and starts what listens within its process, but for the
    faults of the process itself.
    """

    user = "rabbitmq"
    stdin = subprocess.PIPE
    password = "p@ss/word-of-app"

    def __init__(self) -> None:
        self.program, self.epmd = find("rabbitmq-server", "epmd")
        super().__init__()
        self.orders = 0
        self.is_listening = False
        # Erlang starts this, which gives the ports of its nodes away, unless it runs, and leaves it.
        self.names_port = str(free_port())
        self.names = subprocess.Popen(
            [self.epmd, "-address", "127.0.0.1", "-port", self.names_port],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, **self.options,
        )  # fmt: skip
        super().start()
        self.order('rabbit_auth_backend_internal:add_user(<<"app">>, <<"">>, <<"tests">>)')
        self.order(
            'rabbit_auth_backend_internal:set_permissions(<<"app">>, <<"/">>, <<".*">>, <<".*">>, '
            '<<".*">>, <<"tests">>)'
        )
        self._set_password(self.password)

    def command(self) -> list[str]:
        settings = {
            "ALLOW_INPUT": 1, "NODENAME": f"tests{self.port}@localhost",
            "NODE_IP_ADDRESS": "127.0.0.1", "NODE_PORT": self.port, "DIST_PORT": free_port(),
            "MNESIA_BASE": self.folder / "data", "LOG_BASE": self.folder, "LOGS": "-",
            "ENABLED_PLUGINS_FILE": self.folder / "plugins", "CONFIG_FILE": self.folder / "config",
            "CONF_ENV_FILE": self.folder / "env", "PID_FILE": self.folder / "pid",
            "SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }  # fmt: skip
        return [
            "env", f"HOME={self.folder}", f"ERL_EPMD_PORT={self.names_port}",
            *(f"RABBITMQ_{name}={value}" for name, value in settings.items()), self.program,
        ]  # fmt: skip

    def _log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def answers(self) -> bool:
        self.is_listening = "startup complete" in self._log()
        return self.is_listening

    def order(self, expression: str) -> str:
        """Have Erlang evaluate an expression, and return its value as a text."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.orders += 1
        begin, end = f"value {self.orders} is ", f" value {self.orders} ends"
        line = f'io:format("~s~p~s~n", ["value {self.orders} is ", catch ({expression}), " value {self.orders} ends"]).\n'
        self.process.stdin.write(line.encode())
        self.process.stdin.flush()
        log = wait_for(lambda: (log := self._log()).count(end) and log, expression)
        value = log.partition(begin)[2].partition(end)[0]
        assert "EXIT" not in value, value
        return value

    def stop(self, how: signal.Signals | None = None) -> None:
        self.resume()
        self.order("rabbit:stop()")
        self.is_listening = False

    def start(self) -> None:
        self.order("rabbit:start()")
        self.is_listening = True

    def mend(self) -> None:
        self.resume()
        if not self.is_listening:
            self.start()
        self.close_connections()

    def close(self) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.close()
        super().stop(signal.SIGKILL)
        self.names.kill()
        self.names.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self) -> str:
        from urllib.parse import quote

        return f"amqp://app:{quote(self.password, safe='')}@127.0.0.1:{self.port}/%2F"

    def connections(self) -> int:
        return int(self.order("length(rabbit_networking:connections())"))

    def close_connections(self) -> None:
        # Without asking the clients, of which some can't respond while this waits.
        self.order("[exit(Pid, kill) || Pid <- rabbit_networking:connections()]")
        wait_for(lambda: self.connections() == 0, "end of the connections")

    @contextlib.contextmanager
    def out_of_connections(self) -> Iterator[None]:
        """The user may have no connection."""
        limits = '(<<"app">>, #{<<"max-connections">> => %d}, <<"tests">>)'
        self.order("rabbit_auth_backend_internal:set_user_limits" + limits % 0)
        self.close_connections()
        try:
            yield
        finally:
            self.order("rabbit_auth_backend_internal:set_user_limits" + limits % -1)

    def _set_password(self, password: str) -> None:
        self.order(
            "rabbit_auth_backend_internal:change_password"
            f'(<<"app">>, <<"{password}">>, <<"tests">>)'
        )

    @contextlib.contextmanager
    def wrong_password(self) -> Iterator[None]:
        self._set_password("another")
        self.close_connections()
        try:
            yield
        finally:
            self._set_password(self.password)


class MariaDB(Service):
    """MariaDB with the superuser ``admin`` and the user ``app``, who has a database ``app``."""

    user = "mysql"
    stop_signal = signal.SIGTERM
    password = "p@ss/word-of-app"

    def __init__(self) -> None:
        self.program, install = find("mariadbd", "mariadb-install-db")
        super().__init__()
        subprocess.run(
            [install, "--no-defaults", f"--datadir={self.folder / 'data'}", "--skip-test-db",
             "--auth-root-authentication-method=normal"],
            cwd=self.folder, stdin=subprocess.DEVNULL, check=True, capture_output=True, **self.options,
        )  # fmt: skip
        (self.folder / "users").write_text(
            "CREATE DATABASE IF NOT EXISTS app;\n"
            f"CREATE USER IF NOT EXISTS admin@'127.0.0.1' IDENTIFIED BY '{self.password}';\n"
            "GRANT ALL ON *.* TO admin@'127.0.0.1' WITH GRANT OPTION;\n"
            f"CREATE USER IF NOT EXISTS app@'127.0.0.1' IDENTIFIED BY '{self.password}';\n"
            "GRANT ALL ON app.* TO app@'127.0.0.1';\n",
            encoding="ascii",
        )
        (self.folder / "users").chmod(0o644)
        self.start()

    def command(self) -> list[str]:
        settings = {
            "datadir": self.folder / "data", "port": self.port, "bind-address": "127.0.0.1",
            "socket": self.folder / "socket", "pid-file": self.folder / "pid",
            "init-file": self.folder / "users",
            "innodb-buffer-pool-size": "8M", "innodb-flush-log-at-trx-commit": 0,
            "skip-name-resolve": 1,
        }  # fmt: skip
        return [
            self.program, "--no-defaults", *(f"--{key}={value}" for key, value in settings.items())
        ]  # fmt: skip

    def account(self, user: str = "app") -> dict[str, Any]:
        """What a driver's connect function takes."""
        return {
            "host": "127.0.0.1", "port": self.port, "user": user, "password": self.password,
            "connect_timeout": 10,
        }  # fmt: skip

    def execute(self, statement: str) -> Any:
        import pymysql

        connection = pymysql.connect(**self.account("admin"), autocommit=True)
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    def answers(self) -> bool:
        import pymysql

        try:
            self.execute("SELECT 1")
        except pymysql.MySQLError:
            return False
        return True

    def _ids(self) -> list[int]:
        statement = "SELECT id FROM information_schema.processlist WHERE user = 'app'"
        return [id_ for (id_,) in self.execute(statement)]

    def connections(self) -> int:
        return len(self._ids())

    def close_connections(self) -> None:
        self.execute("KILL HARD CONNECTION USER app")
        wait_for(lambda: self.connections() == 0, "end of the user's connections")

    @contextlib.contextmanager
    def out_of_connections(self) -> Iterator[None]:
        """The only connection that the user may have is taken."""
        import pymysql

        self.close_connections()
        self.execute("ALTER USER app@'127.0.0.1' WITH MAX_USER_CONNECTIONS 1")
        try:
            with pymysql.connect(**self.account()):
                yield
        finally:
            self.execute("ALTER USER app@'127.0.0.1' WITH MAX_USER_CONNECTIONS 0")

    @contextlib.contextmanager
    def wrong_password(self) -> Iterator[None]:
        self.execute("ALTER USER app@'127.0.0.1' IDENTIFIED BY 'another'")
        self.close_connections()
        try:
            yield
        finally:
            self.execute(f"ALTER USER app@'127.0.0.1' IDENTIFIED BY '{self.password}'")

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Writes are refused, as by a replica."""
        self.execute("SET GLOBAL read_only = 1")
        try:
            yield
        finally:
            self.execute("SET GLOBAL read_only = 0")

    def mend(self) -> None:
        super().mend()
        self.close_connections()


class Memcached(Service):
    """Memcached, without a password."""

    stop_signal = signal.SIGKILL  # any other takes it a second
    max_connections = 50

    def __init__(self) -> None:
        [self.program] = find("memcached")
        super().__init__()
        self.start()

    def command(self) -> list[str]:
        return [
            self.program, "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-m", "8", "-t", "1",
            "-c", str(self.max_connections), *(["-u", "nobody"] if os.geteuid() == 0 else []),
        ]  # fmt: skip

    def answers(self) -> bool:
        with contextlib.suppress(OSError), self.connect() as connection:
            return connection.recv(100).startswith(b"VERSION")
        return False

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), 10)
        connection.sendall(b"version\r\n")
        return connection

    @contextlib.contextmanager
    def out_of_connections(self) -> Iterator[None]:
        """All of the connections that it takes are taken, also that of the check."""
        self.restart()
        with contextlib.ExitStack() as stack:
            while stack.enter_context(self.connect()).recv(100).startswith(b"VERSION"):
                pass
            yield
        wait_for(self.answers, "memcached has noticed that they are closed")


class SmtpServer(Service):
    """A mail server with the user ``app``; a file tells it what to do wrong.

    :param arguments: ``starttls`` or ``tls``, and the file with the certificate and its key.
    """

    password = "p@ss/word-of-app"

    def __init__(self, *arguments: str) -> None:
        super().__init__()
        self.arguments = arguments
        self.start()

    def command(self) -> list[str]:
        program = Path(__file__).with_name("smtp.py")
        return [
            sys.executable, str(program), str(self.port), str(self.folder / "fault"), self.password,
            *self.arguments,
        ]  # fmt: skip

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 10):
            return True
        return False

    @contextlib.contextmanager
    def _fault(self, name: str) -> Iterator[None]:
        fault = self.folder / "fault"
        fault.write_text(name, encoding="ascii")
        try:
            yield
        finally:
            fault.unlink()

    def out_of_connections(self) -> contextlib.AbstractContextManager[None]:
        """It greets nobody."""
        return self._fault("busy")

    def wrong_password(self) -> contextlib.AbstractContextManager[None]:
        """The user's password is another one than its clients have."""
        return self._fault("password")


class DnsServer(Service):
    """A nameserver that knows ``app.test`` and that there is no other name in ``test``."""

    stop_signal = signal.SIGTERM

    def __init__(self) -> None:
        [self.program] = find("dnsmasq")
        super().__init__()
        self.start()

    def command(self) -> list[str]:
        return [
            self.program, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv",
            "--no-hosts", "--log-facility=-", "--pid-file=", f"--port={self.port}",
            "--listen-address=127.0.0.1", "--bind-interfaces", "--local=/test/",
            "--address=/app.test/192.0.2.7",
        ]  # fmt: skip

    def resolver(self) -> Any:
        import dns.resolver

        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], self.port
        return resolver

    def answers(self) -> bool:
        import dns.exception

        try:
            self.resolver().resolve("app.test.", lifetime=0.2)
        except dns.exception.DNSException:
            return False
        return True
