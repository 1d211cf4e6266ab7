# the sqlite3 shell: transactions, a journal, concurrent writers.
set -eu
die() { echo "FAIL line ${BASH_LINENO[0]}: $*" >&2; exit 1; }
want() { [ "$1" = "$2" ] || { echo "FAIL line ${BASH_LINENO[0]}: got <$1>, want <$2>" >&2; exit 1; }; }

sqlite3 a.db 'create table t(a integer primary key, b); insert into t(b) with recursive c(x) as (select 1 union all select x+1 from c where x < 20000) select x*2 from c;'
want "$(sqlite3 a.db 'select count(*), sum(b) from t')" "20000|400020000"; sqlite3 a.db 'begin; delete from t; rollback;'; want "$(sqlite3 a.db 'select count(*) from t')" 20000; want "$(sqlite3 a.db 'pragma integrity_check')" ok
sqlite3 a.db 'pragma journal_mode=wal;' >/dev/null; for i in 1 2 3 4; do (for k in 1 2 3 4 5 6 7 8 9 10; do sqlite3 -cmd '.timeout 20000' a.db "insert into t(b) values ($i);"; done) & done; wait; want "$(sqlite3 a.db 'select count(*) from t')" 20040
sqlite3 a.db .dump | sqlite3 b.db; want "$(sqlite3 b.db 'select count(*) from t')" 20040; sqlite3 a.db vacuum; sqlite3 a.db '.backup c.db'; want "$(sqlite3 c.db 'select max(a) from t')" "$(sqlite3 a.db 'select max(a) from t')"
