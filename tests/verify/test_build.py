"""What a Dockerfile builds is known, or that it isn't known."""

from __future__ import annotations

import json

import pytest
from verify_helpers import SUBJECTS

from dockerflow.verify import dockerfile
from dockerflow.verify.evidence import Evidence
from dockerflow.verify.verdicts import judge

RULES = ("DF201", "DF202", "DF203", "DF204", "DF205")
LETTERS = {"passed": "P", "failed": "F", "unknown": "?"}

B = "FROM python:3.13-slim\n"
IDS = "RUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\n"
E = 'USER app\nENTRYPOINT ["python"]\nCMD ["x.py"]\n'
T = "COPY . /app\n" + E

# What each rule is expected to yield: P passes, F a finding, ? it can't tell, - either.
# Of group and user, on Debian.
COMMANDS = [
    ("PP", "set -eux; groupadd -g 10001 app; useradd -u 10001 -g app app"),
    ("FF", "true || { groupadd -g 10001 app && useradd -u 10001 -g app app; }"),
    ("FF", "false && groupadd -g 10001 app && useradd -u 10001 -g app app"),
    ("PP", "false || groupadd -g 10001 app && useradd -u 10001 -g app app"),
    ("FF", "if false; then groupadd -g 10001 app && useradd -u 10001 -g app app; fi"),
    ("PP", "if true; then groupadd -g 10001 app && useradd -u 10001 -g app app; fi"),
    ("??", "if [ -f /x ]; then groupadd -g 10001 app && useradd -u 10001 -g app app; fi"),
    (
        "PP",
        "if [ -f /x ]; then groupadd -g 10001 app && useradd -u 10001 -g app app; else useradd -u 10001 app; fi",
    ),
    ("??", "if [ -f /x ]; then useradd -u 10001 app; else useradd -u 1000 app; fi"),
    ("PP", "f() { groupadd -g $1 $2; useradd -u $1 -g $2 $2; }; f 10001 app"),
    ("FF", "f() { groupadd -g 10001 app; useradd -u 10001 -g app app; }"),
    ("PP", "mk() { groupadd -g 10001 app && useradd -u 10001 -g app app; } && mk"),
    ("FF", "echo 'groupadd -g 10001 app && useradd -u 10001 -g app app'"),
    ("FF", "echo groupadd -g 10001 app; echo useradd -u 10001 app"),
    ("PP", "echo 'groupadd -g 10001 app && useradd -u 10001 -g app app' | sh"),
    (
        "PP",
        "echo 'groupadd -g 10001 app && useradd -u 10001 -g app app' > /tmp/x.sh && sh /tmp/x.sh",
    ),
    ("PP", "(groupadd -g 10001 app; useradd -u 10001 -g app app)"),
    ("PP", "{ groupadd -g 10001 app; useradd -u 10001 -g app app; }"),
    ("PP", "ID=10001; export ID; sh -c 'groupadd -g $ID app && useradd -u $ID -g app app'"),
    ("FF", "ID=10001; sh -c 'groupadd -g $ID app && useradd -u $ID -g app app'"),
    ("PP", "ID=10001 sh -c 'groupadd -g $ID app && useradd -u $ID -g app app'"),
    ("PP", 'ID=10001; sh -c "groupadd -g $ID app && useradd -u $ID -g app app"'),
    ("PP", "env ID=10001 sh -c 'groupadd -g $ID app && useradd -u $ID -g app app'"),
    ("FF", "ID=10001 groupadd -g $ID app && useradd -u 10001 -g app app"),
    ("PP", "for i in 1; do groupadd -g 10001 app; done; useradd -u 10001 -g app app"),
    (
        "PP",
        "for u in web app; do [ $u = web ] || { groupadd -g 10001 $u; useradd -u 10001 -g $u $u; }; done",
    ),
    (
        "PP",
        "n=app; case $n in web) groupadd web;; app) groupadd -g 10001 app; useradd -u 10001 -g app app;; esac",
    ),
    (
        "FF",
        "n=web; case $n in app) groupadd -g 10001 app; useradd -u 10001 -g app app;; *) echo;; esac",
    ),
    (
        "PP",
        "case $(uname -m) in x86_64) a=1;; *) a=2;; esac; groupadd -g 10001 app && useradd -u 10001 -g app app",
    ),
    ("PP", "groupadd -g 10001 app && useradd -u 10001 -g app app || exit 1"),
    ("PP", "groupadd -g 10001 app || exit 1; useradd -u 10001 -g app app || exit 1"),
    ("FF", "exit 0; groupadd -g 10001 app; useradd -u 10001 -g app app"),
    ("FF", "exec true; groupadd -g 10001 app; useradd -u 10001 -g app app"),
    ("FP", "groupadd -g 1000 app && useradd -u 10001 -g app app"),
    ("PF", "groupadd -g 10001 app && useradd -u 1000 -g app app"),
    ("FF", "groupadd app && useradd -g app app"),
    ("FP", "groupadd app && useradd -u 10001 -g app app"),
    ("PP", "useradd -u 10001 -U app"),
    ("FF", "useradd -u 10001 -N app"),
    ("FP", "groupadd -g 10001 web && useradd -u 10001 app"),
    ("PF", "groupadd -g 10001 app && useradd -u 10001 -N app"),
    ("PP", "groupadd -g 10001 app && useradd -u 10001 -N app && usermod -g app app"),
    ("PP", "groupadd -g 10001 app && useradd -u 10001 -N -G app app"),
    ("PF", "groupadd -g 10001 app && useradd -u 10001 -N -G app app && gpasswd -d app app"),
    ("PP", "groupadd -g 10001 app && useradd -u 10001 -N app && gpasswd -a app app"),
    ("PP", "groupadd -g 10001 app && useradd -u 10001 -N app && gpasswd -M app app"),
    ("PF", "groupadd -g 10001 app && useradd -u 10001 -N -G app app && usermod -G users app"),
    (
        "PF",
        "useradd -u 10001 web; groupadd -g 10005 app; groupmod -o -g 10001 app; useradd -u 10001 -g app app",
    ),
    (
        "PP",
        "groupadd -g 10001 web && useradd -u 10001 -g web web && groupmod -n app web && usermod -l app web",
    ),
    ("PF", "groupadd -g 10001 app && useradd -u 10001 -g app web"),
    ("PF", "useradd -u 1000 app; groupmod -g 10001 app; useradd -u 10001 app"),
    ("PP", "useradd -u 1000 app; groupmod -g 10001 app; usermod -u 10001 app"),
    ("FF", "useradd -u 10001 app; usermod -u 1000 app; groupmod -g 1000 app"),
    ("FF", "useradd -u 10001 app; userdel app; groupdel app"),
    (
        "PP",
        "echo 'app:x:10001:' >> /etc/group; echo 'app:x:10001:10001::/app:/bin/sh' >> /etc/passwd",
    ),
    (
        "PP",
        "echo 'app:x:10001:' | tee -a /etc/group; echo 'app:x:10001:10001::/app:/bin/sh' | tee -a /etc/passwd >/dev/null",
    ),
    (
        "PP",
        "{ echo 'app:x:10001:10001::/app:/bin/sh'; } >> /etc/passwd; echo 'app:x:10001:' >> /etc/group",
    ),
    (
        "FF",
        "echo 'app:x:10001:' > /tmp/group; echo 'app:x:10001:10001::/app:/bin/sh' > /tmp/passwd",
    ),
    (
        "PP",
        "echo 'app:x:10001:' > /tmp/group; echo 'app:x:10001:10001::/app:/bin/sh' > /tmp/passwd; cp /tmp/group /tmp/passwd /etc/",
    ),
    (
        "PP",
        "echo 'app:x:10001:' > /tmp/group; echo 'app:x:10001:10001::/app:/bin/sh' > /tmp/passwd; cat /tmp/group >> /etc/group; cat /tmp/passwd >> /etc/passwd",
    ),
    (
        "PP",
        "printf '%s:x:%s:%s::/app:/bin/sh\\n' app 10001 10001 >> /etc/passwd; printf '%s:x:%d:\\n' app 10001 >> /etc/group",
    ),
    (
        "PP",
        'echo "app:x:10001:10001::/:" >> /etc/passwd && echo "app:x:$((10000+1)):" >> /etc/group',
    ),
    (
        "FF",
        "groupadd -g 1000 app; useradd -u 1000 -g app app; echo 'app:x:10001:10001::/:' >> /etc/passwd; echo 'app:x:10001:' >> /etc/group",
    ),
    (
        "??",
        "useradd -u 1000 app; sed -i 's/^app:x:1000:1000/app:x:10001:10001/' /etc/passwd; sed -i 's/^app:x:1000/app:x:10001/' /etc/group",
    ),
    ("P?", "groupadd -g 10001 app; useradd -u 10001 -g app app; sed -i 's/10001/1/' /etc/passwd"),
    ("PP", "groupadd -g 10001 app; useradd -u 10001 -g app app; sed -i 's/x/y/' /etc/hosts"),
    ("FF", "sed -i 's#root:/root#root:/app#' /etc/passwd.txt"),
    ("??", "awk '{print}' /etc/passwd > /tmp/p; mv /tmp/p /etc/passwd; cat /x > /etc/group"),
    (
        "??",
        "python -c \"open('/etc/passwd','a').write('app:x:10001:10001::/:/bin/sh'); open('/etc/group','a')\"",
    ),
    ("??", "./setup.sh"),
    ("??", "bash scripts/setup"),
    ("??", "chmod +x /setup.sh && /setup.sh"),
    ("PP", "./setup.sh; groupadd -g 10001 app && useradd -u 10001 -g app app"),
    ("PP", "groupadd -g 10001 app && useradd -u 10001 -g app app && ./setup.sh"),
    ("??", "curl https://example.com/x.sh | bash"),
    ("FF", "curl -sL https://deb.nodesource.com/setup_20.x | bash -"),
    ("FF", "apt-get update && apt-get install -y curl && pip install x"),
    ("FF", "npm install && npm run build"),
    ("FF", "make install"),
    (
        "PP",
        "addgroup --gid 10001 app && adduser --uid 10001 --gid 10001 --disabled-password --gecos '' app",
    ),
    ("FF", "adduser --uid 10001 --gid 10001 --disabled-password --gecos '' app"),
    ("PF", "addgroup --gid 10001 app && adduser --system --uid 10001 app"),
    ("PP", "addgroup --gid 10001 app && adduser --system --uid 10001 --group app"),
    ("PP", "adduser --system --uid 10001 --group app"),
    ("PP", "adduser --uid 10001 --disabled-password --gecos '' app"),
    ("PF", "addgroup --gid 10001 app; adduser --uid 10001 --disabled-password --gecos '' app"),
    (
        "PP",
        "addgroup --gid 10001 app; adduser --system --uid 10001 --no-create-home --ingroup app app",
    ),
    ("PP", "addgroup --gid 10001 app; adduser --system --uid 10001 app; adduser app app"),
    ("FF", "su - root -c 'echo groupadd -g 10001 app'"),
    ("PP", "su root -c 'groupadd -g 10001 app && useradd -u 10001 -g app app'"),
    ("PP", "su -c 'groupadd -g 10001 app && useradd -u 10001 -g app app' root"),
    ("PP", "sudo groupadd -g 10001 app && sudo -H -u root useradd -u 10001 -g app app"),
    ("FF", "chroot /mnt groupadd -g 10001 app && chroot /mnt useradd -u 10001 -g app app"),
    ("FF", "groupadd -R /mnt -g 10001 app && useradd --root /mnt -u 10001 -g app app"),
    ("PP", "echo app | xargs -n1 groupadd -g 10001; echo app | xargs useradd -u 10001 -g 10001"),
    ("PP", 'eval "groupadd -g 10001 app"; eval useradd -u 10001 -g app app'),
    ("PP", "CMD=useradd; groupadd -g 10001 app; $CMD -u 10001 -g app app"),
    ("PP", "OPTS='-u 10001 -g app'; groupadd -g 10001 app; useradd $OPTS app"),
    ("PF", "OPTS='-u 10001 -g app'; groupadd -g 10001 app; useradd \"$OPTS\" app"),
    ("PP", 'A=app; B=10001; groupadd -g "${B}" "${A}" && useradd -u "$B" -g "$A" "$A"'),
    ("PP", "groupadd -g 10001 'app' && useradd -u '10001' -g \"app\" a'p'p"),
    ("PP", 'groupadd -g 1"00"01 app && useradd -u 10001 -g app app'),
    ("FF", "groupadd -g 10001 app\\ x && useradd -u 10001 -g app app"),
    ("FF", "true # groupadd -g 10001 app && useradd -u 10001 app"),
    (
        "PP",
        "getent group app || groupadd -g 10001 app; getent passwd app || useradd -u 10001 -g app app",
    ),
    (
        "FF",
        "getent group app && groupadd -g 10001 app; getent passwd app && useradd -u 10001 -g app app",
    ),
    (
        "PP",
        "if ! getent passwd app >/dev/null; then groupadd -g 10001 app; useradd -u 10001 -g app app; fi",
    ),
    (
        "PP",
        'if [ -z "$(getent passwd app)" ]; then groupadd -g 10001 app; useradd -u 10001 -g app app; fi',
    ),
    (
        "PP",
        "grep -q '^app:' /etc/group || groupadd -g 10001 app; grep -q ^app: /etc/passwd || useradd -u 10001 -g app app",
    ),
    ("PP", "id app &>/dev/null || useradd -u 10001 app"),
    ("PP", "! id -u app || exit 1; useradd -u 10001 app"),
    (
        "PP",
        "command -v useradd && useradd -u 10001 app || adduser --uid 10001 --disabled-password --gecos '' app",
    ),
    ("PP", "groupadd -f -g 10001 app; useradd -u 10001 -g app app"),
    ("PP", "groupadd -rg 10001 app; useradd -rmu 10001 -g app app"),
    ("PP", "groupadd --g 10001 app; useradd --ui 10001 --gi app app"),
    ("PP", "groupadd app --gid 10001; useradd app --uid 10001 --gid app"),
    ("PP", "groupadd -g 010001 app; useradd -u 10001 -g app app"),
    ("PP", "useradd -D -s /bin/bash; groupadd -g 10001 app; useradd -u 10001 -g app app"),
    ("PF", "groupadd -g 10001 app; useradd -u 10001 -g app App"),
    ("FF", "groupadd -g 10001 App; useradd -u 10001 -g App App"),
    ("FF", "groupadd -g 100010 app; useradd -u 100010 -g app app"),
    ("FF", "groupadd -g 10002 app; useradd -u 10002 -g app app"),
    ("PP", "groupadd -g 10001 app; useradd -u 10001 -g 10001 -G 0 app"),
    ("PF", "groupadd -g 10001 app; useradd -u 10001 -g 0 app"),
    ("PF", "groupadd -g 10001 app; groupadd -g 10002 x; useradd -u 10001 -g x app"),
    ("PP", "groupadd -g 10001 app; groupadd -g 10002 x; useradd -u 10001 -g x -G app app"),
    (
        "PP",
        "groupadd -g 10001 app; groupadd -g 10002 x; useradd -u 10001 -g x app; usermod -aG app app",
    ),
    (
        "PP",
        "groupadd -g 10001 app; groupadd -g 10002 x; useradd -u 10001 -g x app; usermod -a -G app,x app",
    ),
    ("FP", "cat <<EOF >> /etc/passwd\napp:x:10001:10001::/:\nEOF\n"),
    ("FF", "useradd -u 10001 app >/dev/null & true; userdel app; groupdel app"),
    ("PP", "while ! groupadd -g 10001 app; do sleep 1; done; useradd -u 10001 -g app app"),
    ("PP", "until groupadd -g 10001 app; do sleep 1; done; useradd -u 10001 -g app app"),
    ("PP", '[ "$(id -u)" = 0 ] && groupadd -g 10001 app && useradd -u 10001 -g app app'),
    ("FF", '[ "a" = "b" ] && groupadd -g 10001 app && useradd -u 10001 -g app app; true'),
    ("FF", "[[ a == b ]] && useradd -u 10001 app; true"),
    ("PP", "[[ app == a* ]] && useradd -u 10001 app"),
    ("FF", "test 1 -eq 2 && useradd -u 10001 app; :"),
    ("PP", "x=1; [ $x -eq 1 ] && useradd -u 10001 app"),
    ("FF", "unset X; X=; useradd -u $X app"),
    ("PP", "X=; useradd -u ${X:-10001} app"),
    ("FF", "X=5; useradd -u ${X:-10001} app"),
    ("PP", "useradd -u ${X:+5}10001 app"),
    ("PP", "useradd -u 10001 app; su app -c 'groupadd -g 5 web'"),
    (
        "PP",
        "useradd -u 10001 app && echo app:x | chpasswd && chown -R app:app /srv && passwd -l app && usermod -L app",
    ),
    ("PP", "nohup useradd -u 10001 app"),
    ("PP", "time useradd -u 10001 app"),
    ("PP", "timeout 5 useradd -u 10001 app"),
    ("PP", 'bash -lc "useradd -u 10001 app"'),
    ("PP", "/bin/bash -ec 'useradd -u 10001 app'"),
    ("PP", "sh -c 'useradd -u \"$1\" app' -- 10001"),
    ("PP", "set -- 10001 app; useradd -u $1 $2"),
    ("PP", "useradd -u 10001 -c 'App; user && more' -s /bin/false app"),
    ("PP", 'useradd -u 10001 -d "/home/app" -p "$(openssl passwd -1 x)" app'),
    ("?F", "groupadd -g $(cat /gid) app; useradd -u 5 -g app app"),
    ("??", "useradd -u $(cat /uid) app"),
    ("??", "useradd $(cat /opts) app"),
    ("??", "$(cat /cmd) app"),
    ("??", "useradd -u 10001 $(cat /name)"),
    ("FP", "useradd -u 10001 app && groupmod -g 5 app"),
    ("PP", "printf 'groupadd -g 10001 app\\nuseradd -u 10001 -g app app\\n' | bash -e"),
    ("PP", "source /etc/os-release && useradd -u 10001 app"),
    ("PP", "UID_=10001 && readonly UID_ && useradd -u $UID_ app"),
    ("PP", "local_id=$(echo 10001) && useradd -u $local_id app"),
    ("PP", "useradd -u `echo 10001` app"),
    ("PP", "useradd -u 10001 app;"),
    ("PP", "useradd \\\n  --uid 10001 \\\n  # the name\n  app"),
    ("PF", "groupadd -g 10001 app && (useradd -u 10001 -g app app; userdel app)"),
    ("FF", "newgrp app"),
    ("??", "newusers /users.txt"),
    ("??", "ansible-playbook users.yml"),
    ("FF", "useradd --system web && chown app /x"),
    ("FF", "mkdir /home/app && chown 10001:10001 /home/app"),
    ("FF", "install -d -o app -g app /app && grep app /etc/passwd"),
    ("FF", "apt-get install -y app-useradd && pip install groupadd"),
    ("PP", "systemd-sysusers --inline 'u app 10001'"),
    (
        "PP",
        "printf 'g app 10001\\nu app 10001:10001\\n' > /etc/sysusers.d/a.conf && systemd-sysusers",
    ),
    ("FF", "echo 'u app 10001' > /etc/sysusers.d/a.conf"),
]
ON_ALPINE = [
    ("PP", "addgroup -g 10001 app && adduser -D -u 10001 -G app app"),
    ("PF", "addgroup -g 10001 app && adduser -D -u 10001 app"),
    ("PP", "addgroup -g 10001 -S app && adduser -S -G app -u 10001 app"),
    ("FF", "groupadd -g 10001 app && useradd -u 10001 -g app app"),
    ("PP", "apk add shadow && groupadd -g 10001 app && useradd -u 10001 -g app app"),
    ("PP", "adduser -D -H -h /app -s /sbin/nologin -g '' -u 10001 app"),
    ("PF", "addgroup -g 10001 app && adduser -D -u 10001 -g app app"),
    ("PP", "adduser --disabled-password --uid 10001 app"),
    ("PP", "addgroup -g 10001 app; adduser -D -u 10001 -G users app; addgroup app app"),
    ("PP", "addgroup -g 10001 app; adduser -D -u 10001 -G users app; adduser app app"),
    ("PF", "addgroup -g 10001 app; adduser -D -u 10001 -G app app; delgroup app app; deluser app"),
    ("FF", "addgroup app; adduser -D -G app app"),
    ("PP", "addgroup --gid=10001 app && adduser --disabled-password --uid=10001 --ingroup=app app"),
    (
        "PP",
        "set -x ; addgroup -g 10001 -S app ; adduser -u 10001 -D -S -G app app && exit 0 ; exit 1",
    ),
]
ON_FEDORA = [
    ("PP", "groupadd -g 10001 app && adduser -u 10001 -g app app"),
    ("PP", "adduser -u 10001 app"),
    ("PF", "groupadd -g 10001 app && adduser -u 10001 app"),
    ("FF", "addgroup -g 10001 app && adduser -D -u 10001 -G app app"),
    ("PP", "dnf -y install shadow-utils && useradd -u 10001 app"),
]
ON_AN_UNKNOWN_BASE = [
    ("PP", "useradd -u 10001 app"),
    ("PP", "groupadd -g 10001 app && useradd -u 10001 -g app app"),
    ("?P", "useradd -u 10001 -g app app"),
    ("??", "getent group app || groupadd -g 10001 app; id app || useradd -u 10001 -g app app"),
    ("??", "echo hello"),
    ("??", "userdel web"),
    ("?F", "userdel app"),
    ("FF", "userdel app; groupdel app"),
    ("??", "usermod -l app web; groupmod -n app web"),
    ("PP", "groupadd -g 10001 app && adduser -S -u 10001 -G app app"),
    ("PP", "addgroup -g 10001 app && adduser -D -u 10001 -G app app"),
    ("PP", "adduser -D -u 10001 app"),
    ("FF", "useradd -u 1000 app"),
]
# Of the sources in /app.
SOURCES = [
    ("P", "RUN mkdir /app && cp -r /src/. /app/"),
    ("F", "RUN mkdir /app"),
    ("F", "WORKDIR /app"),
    ("F", "COPY version.json /app/version.json"),
    ("F", "COPY foo.json /app/version.json"),
    ("F", "RUN cp /app/x /usr/bin"),
    ("P", "RUN mv /src /app"),
    ("P", "COPY . /srv\nRUN ln -s /srv /app"),
    ("F", "COPY . /app\nRUN rm -rf /app"),
    ("F", "COPY . /app\nRUN mv /app /srv"),
    ("P", "COPY . /app\nRUN rm -rf /app/tests"),
    ("P", "RUN wget -O /app/x https://x/y"),
    ("P", "WORKDIR /app\nRUN wget https://x/y"),
    ("F", "RUN wget https://x/y"),
    ("P", "RUN wget -P /app https://x/y"),
    ("P", "WORKDIR /app\nRUN curl -LO https://x/y"),
    ("P", "RUN curl https://x/y > /app/y"),
    ("F", "RUN curl https://x/app/y -o /usr/bin/y"),
    ("P", "RUN cd /app && curl -sSLo y https://x/y"),
    ("P", "RUN curl -L https://x | tar -xzC /app"),
    ("P", "RUN tar -C /app -xzf /x.tgz"),
    ("P", "RUN tar --extract --directory=/app --file /x.tgz"),
    ("P", "WORKDIR /app\nRUN tar xf /x.tar"),
    ("F", "RUN tar cf /x.tar /app"),
    ("F", "RUN tar -czf /app.tgz /srv"),
    ("F", "RUN tar -xzf /x.tgz -C /opt"),
    ("P", "RUN unzip x.zip -d /app"),
    ("P", "WORKDIR /app\nRUN unzip /x.zip"),
    ("P", "RUN git clone --depth 1 -b main https://x/y.git /app"),
    ("P", "WORKDIR /app\nRUN git clone https://x/y.git ."),
    ("P", "WORKDIR /\nRUN git clone https://x/app.git"),
    ("P", "RUN git clone https://x/app"),
    ("F", "RUN git clone https://x/y"),
    ("F", "RUN git clone https://x/y /srv/app"),
    ("P", "WORKDIR /app\nRUN git init && git pull https://x/y"),
    ("P", "RUN go build -o /app/server ./cmd"),
    ("P", "WORKDIR /app\nRUN go build -o server ."),
    ("F", "RUN go build -o /usr/local/bin/server"),
    ("P", "RUN cd /src && GOBIN=/app go install ./..."),
    ("P", "RUN pip install --target=/app x"),
    ("P", "RUN pip install -t /app x"),
    ("F", "RUN pip install x"),
    ("F", "WORKDIR /app\nRUN pip install x"),
    ("P", "RUN python -m pip install --prefix /app x"),
    ("P", "RUN python -m venv /app/venv"),
    ("P", "WORKDIR /app\nRUN python -m venv venv"),
    ("P", "RUN virtualenv /app/env"),
    ("F", "RUN apt-get install -y curl && rm -rf /var/lib/apt/lists/*"),
    ("F", "WORKDIR /app\nRUN apt-get install -y curl"),
    ("F", "WORKDIR /app\nRUN chown -R app:app /app && chmod 755 /app"),
    ("P", "RUN touch /app/x"),
    ("P", "RUN echo x > /app/x"),
    ("F", "RUN echo '{}' > /app/version.json"),
    ("P", "RUN echo x | tee /app/x.py"),
    ("P", "RUN cat > /app/x.py <<EOF\nprint()\nEOF"),
    ("P", "COPY <<EOF /app/x.py\nprint()\nEOF"),
    ("F", "COPY <<EOF /app/version.json\n{}\nEOF"),
    ("P", "COPY a b /app/"),
    ("P", 'COPY ["a b", "/app/"]'),
    ("P", "COPY --chown=app:app . /app"),
    ("P", "ADD x.tar.gz /app"),
    ("P", "ADD https://x/y.tgz /app/"),
    ("F", "ADD https://x/app.tgz /"),
    ("?", "ADD rootfs.tar.gz /"),
    ("P", "COPY --parents src/x /app/"),
    ("P", "COPY --parents app/x /"),
    ("F", "COPY . /application"),
    ("F", "COPY . /opt/app"),
    ("P", "COPY . /app/src"),
    ("P", "COPY . //app"),
    ("P", "COPY . /app/../app/x"),
    ("F", "COPY . /app/../srv"),
    ("P", "WORKDIR /app/src\nCOPY . ."),
    ("P", "WORKDIR /app\nWORKDIR src\nCOPY . ."),
    ("F", "WORKDIR /app\nWORKDIR ../srv\nCOPY . ."),
    ("P", "WORKDIR /srv\nCOPY . /app"),
    ("F", "WORKDIR /srv\nCOPY . app"),
    ("P", "ARG D=/app\nWORKDIR $D\nCOPY . ."),
    ("P", "ENV D=/app\nWORKDIR ${D}\nCOPY . ${D}/"),
    ("?", "ARG D\nWORKDIR $D\nCOPY . ."),
    ("P", "ARG D\nWORKDIR ${D:-/app}\nCOPY . ."),
    ("P", "ENV APP_HOME /app\nADD . $APP_HOME"),
    ("P", "RUN install -D -m 644 /x.py /app/x.py"),
    ("F", "RUN install -d /app/x"),
    ("P", "RUN rsync -a --exclude .git /src/ /app/"),
    ("F", "RUN rsync -a /app/ /srv/"),
    ("P", "RUN cp -t /app x y"),
    ("P", "RUN cd /app && cp /src/x ."),
    ("F", "RUN cd /app; cd /; cp /src/x ."),
    ("P", "RUN (cd /app && cp /src/x .)"),
    ("F", "RUN (cd /app); cp /src/x ."),
    ("F", "RUN --mount=type=bind,target=/app cp /src/x /app/y"),
    ("F", "RUN --mount=type=cache,target=/app pip install --target /app x"),
    ("P", "RUN --mount=type=bind,source=.,target=/mnt cp -r /mnt/. /app"),
    ("?", "RUN ./build.sh"),
    ("?", "WORKDIR /app\nRUN ./fetch"),
    ("F", "HEALTHCHECK CMD cp x /app"),
    ("F", "VOLUME /app"),
    ("F", "LABEL x='COPY . /app'"),
    ("F", "# COPY . /app"),
    ("F", "RUN echo COPY . /app"),
    ("F", "RUN ls /app || true"),
    ("?", "RUN if [ -f /x ]; then cp -r /src /app; fi"),
    ("P", "RUN dotnet publish -c Release -o /app"),
    ("P", "RUN cargo install --root /app x"),
    ("?", "WORKDIR /app\nRUN npm run build"),
    ("F", "RUN npm install -g yarn"),
    ("?", "COPY . ."),
    ("F", "COPY app.py /"),
    ("F", "ONBUILD COPY . /app"),
    ("F", "COPY version.json /app"),
    ("F", "ADD ./version.json /app/"),
    ("P", "COPY version.json app.py /app/"),
    ("F", "RUN cp version.json /app/"),
    ("F", "RUN curl -o /app/version.json https://x"),
    ("P", "COPY . /app\nRUN cp /x /app/version.json"),
]
# Of all five.
DOCKERFILES = [
    ("PPPPP", "FROM python AS a\n" + IDS + "FROM a\n" + T),
    ("PFFPP", "FROM python AS a\n" + IDS + "FROM python\n" + T),
    ("PPPPP", "FROM python AS a\n" + IDS + "FROM a AS b\nFROM b\n" + T),
    ("PPPPP", "FROM python AS a\n" + IDS + "FROM scratch\nCOPY --from=a /etc /etc\n" + T),
    ("PPPPP", "FROM python AS a\n" + IDS + "FROM scratch\nCOPY --from=a /etc/ /etc/\n" + T),
    ("PPPPP", "FROM python AS a\n" + IDS + "FROM scratch\nCOPY --from=0 / /\n" + T),
    (
        "PPPPP",
        "FROM python AS a\n"
        + IDS
        + "FROM scratch\nCOPY --from=a --chown=0:0 /etc/passwd /etc/group /etc/\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM python AS a\n"
        + IDS
        + "FROM scratch\nCOPY --from=a /etc/pass* /etc/group /etc/\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM python AS a\n"
        + IDS
        + "FROM scratch\nCOPY --from=a --parents /etc/passwd /etc/group /\n"
        + T,
    ),
    (
        "PPFPP",
        "FROM python AS a\n" + IDS + "FROM scratch\nCOPY --from=a /etc/group /etc/group\n" + T,
    ),
    (
        "PFFPP",
        "FROM python AS a\n" + IDS + "FROM scratch\nCOPY --from=a /etc/passwd /etc/group /\n" + T,
    ),
    ("PFFPP", "FROM python AS a\n" + IDS + "FROM scratch\nCOPY --from=a /etc/hosts /etc/\n" + T),
    (
        "PPPPP",
        "FROM python AS a\nRUN mkdir -p /out/etc && echo 'app:x:10001:10001::/:' > /out/etc/passwd && echo 'app:x:10001:' > /out/etc/group\nFROM scratch\nCOPY --from=a /out/ /\n"
        + T,
    ),
    ("P??PP", "FROM scratch\nCOPY passwd group /etc/\n" + T),
    ("P??PP", "FROM scratch\nCOPY --from=org/img /etc/passwd /etc/group /etc/\n" + T),
    ("PFFPP", "FROM scratch\nCOPY --from=busybox /etc/passwd /etc/group /etc/\n" + T),
    (
        "PPPPP",
        "FROM scratch\nCOPY <<A /etc/passwd\napp:x:10001:10001::/:\nA\nCOPY <<B /etc/group\napp:x:10001:\nB\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM scratch\nARG ID=10001\nCOPY <<A /etc/passwd\napp:x:${ID}:$ID::/:\nA\nCOPY <<B /etc/group\napp:x:$ID:\nB\n"
        + T,
    ),
    (
        "PFFPP",
        "FROM scratch\nARG ID=10001\nCOPY <<'A' /etc/passwd\napp:x:${ID}:$ID::/:\nA\nCOPY <<'B' /etc/group\napp:x:$ID:\nB\n"
        + T,
    ),
    (
        "PPPPP",
        B + "RUN <<EOF\nset -e\ngroupadd -g 10001 app\nuseradd -u 10001 -g app app\nEOF\n" + T,
    ),
    (
        "PPPPP",
        B + "RUN <<-EOF\n\tgroupadd -g 10001 app\n\tuseradd -u 10001 -g app app\n\tEOF\n" + T,
    ),
    (
        "PPPPP",
        B + "RUN <<EOF bash -e\ngroupadd -g 10001 app\nuseradd -u 10001 -g app app\nEOF\n" + T,
    ),
    (
        "PPPPP",
        B + "RUN bash <<'EOF'\ngroupadd -g 10001 app\nuseradd -u 10001 -g app app\nEOF\n" + T,
    ),
    (
        "PPPPP",
        B + "RUN <<EOF\n#!/bin/bash\ngroupadd -g 10001 app\nuseradd -u 10001 -g app app\nEOF\n" + T,
    ),
    ("PFFPP", B + "RUN <<EOF\n#!/usr/bin/env python\nprint('hello')\nEOF\n" + T),
    (
        "P??PP",
        B
        + "RUN <<EOF\n#!/usr/bin/env python\nimport os; os.system('useradd -u 10001 app')\nEOF\n"
        + T,
    ),
    ("PFFPP", B + "RUN cat <<EOF > /x\ngroupadd -g 10001 app\nEOF\n" + T),
    (
        "PPPPP",
        B
        + "RUN cat <<EOF >> /etc/passwd && echo app:x:10001: >> /etc/group\napp:x:10001:10001::/:\nEOF\n"
        + T,
    ),
    ("PPPPP", B + "COPY <<EOF /s.sh\nuseradd -u 10001 app\nEOF\nRUN sh /s.sh\n" + T),
    ("P??PP", B + "COPY s.sh /\nRUN sh /s.sh\n" + T),
    ("PPPPP", B + 'SHELL ["/bin/bash", "-c"]\nRUN useradd -u 10001 app\n' + T),
    ("P??PP", B + 'SHELL ["pwsh", "-Command"]\nRUN useradd -u 10001 app\n' + T),
    ("PFFPP", "FROM python\nENV ID=1000\nARG ID=10001\nRUN useradd -u $ID app\n" + T),
    ("PPPPP", "FROM python\nARG ID=1000\nENV ID=10001\nRUN useradd -u $ID app\n" + T),
    ("PPPPP", "FROM python AS a\nENV ID=10001\nFROM a\nARG ID=5\nRUN useradd -u $ID app\n" + T),
    ("PPPPP", "FROM python AS a\nARG ID=10001\nFROM a\nRUN useradd -u $ID app\n" + T),
    ("PFFPP", "FROM python AS a\nARG ID=10001\nFROM python\nRUN useradd -u $ID app\n" + T),
    ("P??PP", "FROM python\nARG ID\nRUN useradd -u $ID app\n" + T),
    ("PPPPP", "FROM python\nARG ID\nRUN useradd -u ${ID:-10001} app\n" + T),
    ("PPPPP", "FROM python\nARG A=1000${X}1\nARG ID=${A:+10001}\nRUN useradd -u $ID app\n" + T),
    ("PPPPP", "FROM python\nENV A=10001\nENV ID=${A:-5}\nRUN useradd -u ${ID} app\n" + T),
    ("PPPPP", "FROM python\nENV A=x A2=$A\nENV ID 10001\nRUN useradd -u ${ID} app\n" + T),
    ("PPPPP", "ARG BASE=python:3\nFROM ${BASE} AS x\n" + IDS + T),
    ("P??PP", "ARG BASE\nFROM ${BASE} AS x\n" + T),
    ("PFFPP", "FROM --platform=linux/amd64 python:3.13@sha256:aa AS x\n" + T),
    ("PFFPP", "FROM docker.io/library/python:3\n" + T),
    ("P??PP", "FROM quay.io/org/python:3\n" + T),
    ("PPPPF", B + IDS + "COPY . /app\nUSER root\nENTRYPOINT x\nCMD y\n"),
    ("PPPPP", B + IDS + "COPY . /app\nUSER root\nUSER app\nENTRYPOINT x\nCMD y\n"),
    ("PPPPF", B + IDS + "COPY . /app\nENTRYPOINT x\nCMD y\n"),
    ("PPPPF", B + IDS + "COPY . /app\nUSER web\nENTRYPOINT x\nCMD y\n"),
    ("PPPP?", B + IDS + "COPY . /app\nARG U\nUSER $U\nENTRYPOINT x\nCMD y\n"),
    ("PPPPP", B + IDS + "COPY . /app\nARG U\nUSER ${U:-app}\nENTRYPOINT x\nCMD y\n"),
    ("PPPPF", B + IDS + "COPY . /app\nUSER $U\nENTRYPOINT x\nCMD y\n"),
    ("PPPPP", B + IDS + "COPY . /app\nUSER 10001\nENTRYPOINT x\nCMD y\n"),
    ("PPPPP", B + IDS + "COPY . /app\nUSER 'app'\nENTRYPOINT x\nCMD y\n"),
    ("PPPPF", B + IDS + "COPY . /app\nUSER 1000:10001\nENTRYPOINT x\nCMD y\n"),
    ("PPPF-", B + IDS + "COPY . /app\nUSER app\nCMD y\n"),
    ("PPPFP", B + IDS + "COPY . /app\nUSER app\nENTRYPOINT y\n"),
    ("PPPFP", B + IDS + 'COPY . /app\nUSER app\nENTRYPOINT ["x"]\nCMD ["y"]\nENTRYPOINT []\n'),
    ("PPPFP", B + IDS + 'COPY . /app\nUSER app\nENTRYPOINT ["x"]\nCMD []\n'),
    ("PPP?P", "FROM node:20\n" + IDS + 'COPY . /app\nUSER app\nCMD ["npm", "start"]\n'),
    ("PPPFP", "FROM node:20\n" + IDS + 'COPY . /app\nUSER app\nENTRYPOINT ["npm", "start"]\n'),
    (
        "PPPFP",
        'FROM scratch\nCOPY --from=python /x /y\nCOPY <<A /etc/passwd\napp:x:10001:10001::/:\nA\nCOPY <<A /etc/group\napp:x:10001:\nA\nCOPY . /app\nUSER app\nCMD ["y"]\n',
    ),
    (
        "PPPFP",
        'FROM python AS b\nENTRYPOINT ["x"]\nCMD ["y"]\n'
        + IDS
        + 'COPY . /app\nUSER app\nFROM b\nENTRYPOINT ["z"]\n',
    ),
    (
        "PPPPP",
        'FROM python AS b\nENTRYPOINT ["x"]\nCMD ["y"]\n'
        + IDS
        + 'COPY . /app\nUSER app\nFROM b\nCMD ["z"]\n',
    ),
    (
        "PPPPP",
        "FROM python AS b\nONBUILD COPY . /app\nONBUILD USER app\n"
        + IDS
        + 'FROM b\nENTRYPOINT ["z"]\nCMD ["a"]\n',
    ),
    (
        "FPPPF",
        "FROM python AS b\nONBUILD COPY . /app\nONBUILD USER app\n"
        + IDS
        + "FROM b AS c\nFROM python AS d\n"
        + IDS
        + 'ENTRYPOINT ["z"]\nCMD ["a"]\n',
    ),
    (
        "PFFPP",
        "FROM python\nUSER nobody\nRUN groupadd -g 10001 app && useradd -u 10001 -g app app\n" + T,
    ),
    ("PPPPP", "FROM python\nUSER nobody\nRUN sudo useradd -u 10001 app\n" + T),
    ("PPPPP", "FROM python\nUSER root\nRUN useradd -u 10001 app\n" + T),
    (
        "PPPPP",
        "FROM node:20\nRUN groupmod -g 10001 -n app node && usermod -u 10001 -l app node\n" + T,
    ),
    (
        "PPPPP",
        "FROM node:20\nRUN usermod -l app -u 10001 node && groupmod -n app -g 10001 node\n" + T,
    ),
    (
        "PPPPP",
        "FROM node:20-alpine\nRUN deluser --remove-home node && addgroup -S app -g 10001 && adduser -S -G app -u 10001 app\n"
        + T,
    ),
    ("P-FPP", "FROM node:20\nRUN usermod -l app node\n" + T),
    (
        "FPPPP",
        "FROM golang AS b\nRUN go build -o /server\nFROM alpine\nRUN addgroup -g 10001 app && adduser -D -u 10001 -G app app\nCOPY --from=b /server /\n"
        + E,
    ),
    (
        "FPPPP",
        "FROM golang AS b\nRUN go build -o /server\nFROM alpine\nRUN addgroup -g 10001 app && adduser -D -u 10001 -G app app\nCOPY --from=b /server /usr/local/bin/\n"
        + E,
    ),
    (
        "PPPPP",
        "FROM node AS b\nWORKDIR /app\nCOPY . .\nRUN npm ci\nFROM alpine\nRUN addgroup -g 10001 app && adduser -D -u 10001 -G app app\nCOPY --from=b /app /app\n"
        + E,
    ),
    (
        "FPPPP",
        "FROM node AS b\nWORKDIR /app\nCOPY . .\nFROM alpine\nRUN addgroup -g 10001 app && adduser -D -u 10001 -G app app\nCOPY --from=b /app/dist /usr/share/x\n"
        + E,
    ),
    (
        "FPPPP",
        "FROM alpine AS b\nWORKDIR /app\nFROM alpine\nRUN addgroup -g 10001 app && adduser -D -u 10001 -G app app\nCOPY --from=b /app /app\n"
        + E,
    ),
    (
        "PPPPP",
        "FROM alpine AS b\nWORKDIR /app\nCOPY . .\nFROM alpine\nRUN addgroup -g 10001 app && adduser -D -u 10001 -G app app\nCOPY --from=b / /\nRUN addgroup -g 10001 app && adduser -D -u 10001 -G app app\n"
        + E,
    ),
]


def verdicts(text: str) -> str:
    seen = Evidence(dockerfiles=[dockerfile.parse(text, "Dockerfile")])
    return "".join(LETTERS[verdict.status] for verdict in judge(seen, RULES))


def expect(text: str, expected: str) -> None:
    found = verdicts(text)
    right = "".join(e if e == "-" else f for e, f in zip(expected, found, strict=True))
    assert right == expected, f"{found} for {text}"


@pytest.mark.parametrize(
    "case",
    json.loads((SUBJECTS / "dockerfiles.json").read_text()),
    ids=lambda case: case["name"],
)
def test_dockerfiles_of_others(case):
    expect(case["dockerfile"], case["expected"])


@pytest.mark.parametrize(("expected", "commands"), COMMANDS)
def test_commands(expected, commands):
    expect(f"{B}RUN {commands}\n{T}", f"P{expected}PP")


@pytest.mark.parametrize(
    ("base", "cases"),
    [("alpine:3.20", ON_ALPINE), ("fedora:40", ON_FEDORA), ("org/base", ON_AN_UNKNOWN_BASE)],
)
def test_commands_on_other_bases(base, cases):
    for expected, commands in cases:
        expect(f"FROM {base}\nRUN {commands}\n{T}", f"P{expected}PP")


@pytest.mark.parametrize(("expected", "instructions"), SOURCES)
def test_sources(expected, instructions):
    expect(f"{B}{IDS}{instructions}\n{E}", f"{expected}PPPP")


@pytest.mark.parametrize(("expected", "text"), DOCKERFILES)
def test_dockerfiles(expected, text):
    expect(text, expected)
