/*
 * Sessions and ownership in the cluster log, as a model for spin: every order of events within the bounds below is tried.
 *
 * It follows worker/cluster/fold (what a record does: step) and worker/cluster/member (what a worker may do: Worker) rule
 * by rule and under their names. `make model` runs it in the sizes that model_test.go lists, then with rules taken out by
 * a -D, each of which must be found.
 *
 * In it: join, heartbeat, expire, leave, claim and release; records that are late, lost, stored twice or out of order;
 * workers that are slow in reading, freeze, die and come back in their store or without it, or give their session up and
 * start over; a config that is replaced; generations that are known from an earlier log.
 * Not in it: a log that loses records (C4), snapshots, digests, who should own what. The simulation has these. What a worker
 * does that most others contradict is in it, though: it gives its session up and starts over, as any may here at any time,
 * and what it holds its claims back for is a claim that is not made yet.
 *
 * Time is ticks, which all workers see. A timer says how many it has left, or has counted: no clock is compared with another.
 *
 * Checked:
 *   C2  no two workers have a delivery for one unit under way (start);
 *       generations of a unit only rise (grant);
 *   C3  nothing is granted below the highest epoch so far, or beside a unit that is owned at another one (grant);
 *       a request is granted once (grant);
 *       nothing is owned by a session that has ended (step), and from every state any one worker alone, the others gone and
 *       nothing more in flight, comes to own and run every unit at the newest epoch within a few records (settle).
 */

#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef UNITS
#define UNITS 1		/* of one connector */
#endif
#ifndef EPOCHS
#define EPOCHS 1
#endif
#ifndef RECORDS
#define RECORDS 4	/* that workers may add to the log */
#endif
#ifndef RESTARTS
#define RESTARTS 0	/* deaths, and sessions given up, in all */
#endif
#ifndef FLIGHTS
#define FLIGHTS 1	/* records of a worker that may be stored yet */
#endif
#ifndef EARLIER
#define EARLIER 0	/* the generation of unit 0 in an earlier log, as the stores may know it */
#endif

#define TIMEOUT 1	/* session time-out */
#define SEND 1		/* send time-out: how long a delivery may take */

#define SPARE (2 * WORKERS + 3 * UNITS + 3)	/* room in the log for settle */
#define LAST (WORKERS + 1 + RECORDS + SPARE)
#define LOG WORKERS	/* the fold of the whole log; folds[w] is that of worker w, as far as it has read */

/* ---- The rules that a -D takes out ---- */

#ifdef LEASE_IS_LONGER_THAN_THE_SESSION
#define LEASE (TIMEOUT + 1)
#else
#define LEASE TIMEOUT	/* Lease.Until; the tenth that it is shorter is for what this has not: clocks that run apart */
#endif
#ifdef RELEASE_IGNORES_THE_GENERATION
#define RELEASES(held, named) 1
#else
#define RELEASES(held, named) (held == named)
#endif
#ifdef RELEASED_GENERATIONS_RUN_AGAIN
#define SHUT(generation, released) 0
#else
#define SHUT(generation, released) (generation == released)
#endif
#ifdef EXPIRE_NEEDS_NOT_THE_NEWEST_HEARTBEAT
#define NEWEST(heartbeat, named) 1
#else
#define NEWEST(heartbeat, named) (heartbeat == named)
#endif
#ifdef SEQUENCE_IS_NOT_CHECKED
#define LATE(seq, newestSeq) 0
#else
#define LATE(seq, newestSeq) (seq <= newestSeq)
#endif
#ifdef CLAIMS_BELOW_THE_FLOOR
#define BELOW(e, floorEpoch) 0
#else
#define BELOW(e, floorEpoch) (e < floorEpoch)
#endif
#ifdef CLAIMS_BESIDE_ANOTHER_EPOCH
#define MIXED 0
#else
#define MIXED other
#endif
#ifdef GENERATIONS_FORGET_THEIR_TOP
#define ABOVE(n) 0
#else
#define ABOVE(n) (n + 1)
#endif
#ifdef LATE_JOINS_SUPERSEDE
#define LATER(incarnationNow, than) (incarnationNow != than)
#else
#define LATER(incarnationNow, than) (incarnationNow > than)
#endif
#ifdef JOIN_WITHIN_THE_FORMER_LEASE
#define MAY_JOIN 1
#else
#define MAY_JOIN (M.joinFrom == 0)
#endif
#ifdef GATE_IS_NOT_CHECKED
#define FITS(left) 1
#else
#define FITS(left) (left >= SEND)
#endif
#ifdef EXPIRED_SESSIONS_KEEP_THEIR_UNITS
#define FREES(what) (what == LEAVE)
#else
#define FREES(what) 1
#endif

/* ---- The state ---- */

mtype = { JOIN, HEARTBEAT, EXPIRE, LEAVE, CLAIM, RELEASE };

typedef Record {
	mtype kind;		/* 0: none */
	byte worker;
	byte session;		/* all but JOIN; the one to end for EXPIRE */
	byte seq;		/* all but JOIN, EXPIRE */
	byte incarnation;	/* JOIN */
	byte store;		/* JOIN: the proof; incarnations of one store are counted */
	byte heartbeat;		/* EXPIRE */
	byte unit;		/* CLAIM, RELEASE */
	byte generation;	/* RELEASE; above for CLAIM */
	byte epoch;		/* CLAIM */
	byte request		/* CLAIM */
};

/* Offsets begin at 1, so that 0 is no session, generation or heartbeat. A worker id has one live session at most. */
typedef Fold {
	byte offset;
	byte session[WORKERS];
	byte incarnation[WORKERS];
	byte store[WORKERS];
	byte seq[WORKERS];
	byte heartbeat[WORKERS];
	byte owner[UNITS];	/* session */
	byte generation[UNITS];
	byte epoch[UNITS];
	byte top[UNITS];
	byte floor
};

typedef Member {
	bit joined;
	byte session;
	byte seq;
	byte incarnation;
	byte store;
	byte config;		/* the newest epoch that it has heard of */
	byte lease;		/* left */
	byte joinFrom;		/* left */
	byte beat;		/* sequence of the newest heartbeat that has not come back */
	byte age;		/* of it, since it was sent */
	byte silence[WORKERS];	/* counted since the newest heartbeat of each was read */
	byte request[UNITS];	/* open */
	byte grant[UNITS];	/* generation */
	byte released[UNITS];	/* generation; never runs again */
	byte former[UNITS];	/* generation of a session that was lost, released late */
	byte delivery[UNITS]	/* time left of the one that is under way */
};

Record log[LAST + 1];
Record flying[WORKERS * FLIGHTS];
bit stored[WORKERS * FLIGHTS];
Fold folds[WORKERS + 1];
Member members[WORKERS];
byte newest = 1;	/* epoch in the config store */
byte restarts;

/* What was true so far, for the assertions. */
byte highest[UNITS];	/* generation */
byte highestEpoch;
byte answered[WORKERS];	/* the newest request that was granted in the session */

/* Scratch, no part of the state. */
hidden Record rec;
hidden byte i, j, k, old, gen;
hidden byte accepted, other, fits, settled;
hidden byte ended, joined, granted;	/* worker + 1; worker + 1; generation */
hidden byte alive, wrong, closed, first, second;

#define F folds[f]
#define M members[w]
#define OWN folds[w]

/* ---- The fold ---- */

inline free(f, u) {
	if
	:: F.generation[u] > F.offset -> F.top[u] = F.generation[u]
	:: else
	fi;
	F.owner[u] = 0; F.generation[u] = 0; F.epoch[u] = 0
}

inline endSession(f) {
	ended = rec.worker + 1;
	for (j : 0 .. UNITS - 1) {
		if
		:: F.owner[j] == F.session[rec.worker] && FREES(rec.kind) -> free(f, j)
		:: else
		fi
	}
	F.session[rec.worker] = 0; F.incarnation[rec.worker] = 0; F.store[rec.worker] = 0; F.seq[rec.worker] = 0; F.heartbeat[rec.worker] = 0;
	if
	:: f == LOG -> answered[rec.worker] = 0
	:: else
	fi
}

inline grantUnit(f) {
	gen = F.offset;
	if
	:: rec.generation + 1 > gen && rec.generation > 0 -> gen = rec.generation + 1
	:: else
	fi;
	if
	:: ABOVE(F.top[rec.unit]) > gen -> gen = ABOVE(F.top[rec.unit])
	:: else
	fi;
	if
	:: f == LOG ->
		assert(gen > highest[rec.unit]);
		assert(rec.epoch >= highestEpoch);
		for (j : 0 .. UNITS - 1) {
			assert(F.owner[j] == 0 || F.epoch[j] == rec.epoch)
		}
		assert(rec.request > answered[rec.worker]);
		highest[rec.unit] = gen; highestEpoch = rec.epoch; answered[rec.worker] = rec.request
	:: else
	fi;
	granted = gen;
	F.owner[rec.unit] = rec.session; F.generation[rec.unit] = gen; F.epoch[rec.unit] = rec.epoch; F.floor = rec.epoch; F.top[rec.unit] = 0
}

/* judge and grant; other says that a unit is owned at another epoch. */
inline claimUnit(f) {
	other = 0;
	for (j : 0 .. UNITS - 1) {
		if
		:: F.owner[j] != 0 && F.epoch[j] != rec.epoch -> other = 1
		:: else
		fi
	}
	if
	:: F.owner[rec.unit] != 0 || BELOW(rec.epoch, F.floor) || MIXED
	:: else -> grantUnit(f)
	fi
}

inline releaseUnit(f) {
	if
	:: F.owner[rec.unit] == rec.session && RELEASES(F.generation[rec.unit], rec.generation) ->
		i = rec.unit; free(f, i)
	:: else
	fi
}

/* supersedes needs a proof of the same store and of a later incarnation. */
inline joinSession(f) {
	fits = 1;
	if
	:: F.session[rec.worker] != 0 ->
		if
		:: LATER(rec.incarnation, F.incarnation[rec.worker]) && F.store[rec.worker] == rec.store -> endSession(f)
		:: else -> fits = 0
		fi
	:: else
	fi;
	if
	:: fits ->
		accepted = 1; joined = rec.worker + 1;
		F.session[rec.worker] = F.offset; F.heartbeat[rec.worker] = F.offset;
		F.incarnation[rec.worker] = rec.incarnation; F.store[rec.worker] = rec.store
	:: else
	fi
}

/* Step folds the next record of the log, which stays in rec. */
inline step(f) {
	F.offset++;
	set(rec, log[F.offset]);
	accepted = 0; ended = 0; joined = 0; granted = 0;
	if
	:: rec.kind == JOIN -> joinSession(f)
	:: rec.kind == EXPIRE ->
		if
		:: F.session[rec.worker] == rec.session && NEWEST(F.heartbeat[rec.worker], rec.heartbeat) ->
			accepted = 1; endSession(f)
		:: else
		fi
	:: else ->
		if
		:: F.session[rec.worker] == rec.session && !LATE(rec.seq, F.seq[rec.worker]) ->
			accepted = 1; F.seq[rec.worker] = rec.seq;
			if
			:: rec.kind == HEARTBEAT -> F.heartbeat[rec.worker] = F.offset
			:: rec.kind == LEAVE -> endSession(f)
			:: rec.kind == CLAIM -> claimUnit(f)
			:: rec.kind == RELEASE -> releaseUnit(f)
			fi
		:: else
		fi
	fi;
	/* Nothing is owned by a session that has ended. */
	if
	:: f == LOG ->
		for (j : 0 .. UNITS - 1) {
			fits = F.owner[j] == 0;
			for (k : 0 .. WORKERS - 1) {
				fits = fits || F.owner[j] == F.session[k]
			}
			assert(fits)
		}
	:: else
	fi
}

inline set(to, from) {
	to.kind = from.kind; to.worker = from.worker; to.session = from.session; to.seq = from.seq;
	to.incarnation = from.incarnation; to.store = from.store; to.heartbeat = from.heartbeat;
	to.unit = from.unit; to.generation = from.generation; to.epoch = from.epoch; to.request = from.request
}

inline clear(r) {
	r.kind = 0; r.worker = 0; r.session = 0; r.seq = 0; r.incarnation = 0; r.store = 0; r.heartbeat = 0;
	r.unit = 0; r.generation = 0; r.epoch = 0; r.request = 0
}

/* append stores a record at the end of the log. */
inline appendRecord(r) {
	set(log[folds[LOG].offset + 1], r);
	step(LOG)
}

/* ---- The member ---- */

/* lose: what ran under the session may run until its lease is over, so no join before. */
inline lose(w) {
	M.joined = 0; M.session = 0; M.seq = 0; M.incarnation++;
	M.joinFrom = M.lease; M.lease = 0; M.beat = 0; M.age = 0;
	for (k : 0 .. UNITS - 1) {
		if
		:: M.grant[k] != 0 -> M.former[k] = M.grant[k]
		:: else
		fi;
		M.grant[k] = 0; M.released[k] = 0; M.request[k] = 0
	}
}

#define OWNED(u) (M.joined && OWN.owner[u] == M.session && OWN.generation[u] == M.grant[u] && M.grant[u] != 0)
#define OWNS(u) (OWNED(u) && !SHUT(M.grant[u], M.released[u]))
#define OPEN(u) (OWNS(u) && FITS(M.lease))

/* read is Machine.Step: one record, and what this worker makes of it. */
inline read(w) {
	step(w);
	if
	:: joined != 0 ->
		M.silence[joined - 1] = 0;
		if
		:: joined - 1 == w && !M.joined && rec.incarnation == M.incarnation && rec.store == M.store ->
			M.joined = 1; M.session = OWN.offset; M.joinFrom = 0
		:: else
		fi
	:: else
	fi;
	if
	:: accepted && rec.kind == HEARTBEAT ->
		M.silence[rec.worker] = 0;
		if
		:: rec.worker == w && M.joined && rec.session == M.session && M.beat != 0 && rec.seq >= M.beat ->
			M.lease = (LEASE > M.age -> LEASE - M.age : 0);
			M.beat = 0; M.age = 0
		:: else
		fi
	:: accepted && rec.kind == CLAIM && M.joined && rec.session == M.session ->
		if
		:: M.request[rec.unit] == rec.request ->
			M.request[rec.unit] = 0;
			if
			:: granted != 0 -> M.grant[rec.unit] = granted
			:: else
			fi
		:: M.request[rec.unit] != rec.request && granted != 0 ->
			M.grant[rec.unit] = granted; M.released[rec.unit] = granted	/* nobody waits for it */
		:: else
		fi
	:: else
	fi;
	if
	:: ended != 0 ->
		if
		:: joined == 0 -> M.silence[ended - 1] = 0
		:: else
		fi;
		if
		:: ended - 1 == w && M.joined && OWN.session[w] != M.session -> lose(w)
		:: else
		fi
	:: else
	fi;
	/* prune */
	for (k : 0 .. UNITS - 1) {
		if
		:: M.grant[k] != 0 && !OWNED(k) -> M.grant[k] = 0; M.released[k] = 0
		:: else
		fi
	}
	/* What all have read is no part of the state any more. */
	old = OWN.offset;
	for (k : 0 .. WORKERS - 1) {
		if
		:: folds[k].offset < old -> old = folds[k].offset
		:: else
		fi
	}
	for (k : 1 .. old) {
		clear(log[k])
	}
}

/* tick is one tick of the worker's clock: everything that it times goes on. */
inline tick(w) {
	M.lease = (M.lease > 0 -> M.lease - 1 : 0);
	M.joinFrom = (M.joinFrom > 0 -> M.joinFrom - 1 : 0);
	M.age = (M.beat != 0 && M.age < LEASE -> M.age + 1 : M.age);
	for (k : 0 .. WORKERS - 1) {
		if
		:: OWN.session[k] != 0 && OWN.session[k] != M.session && M.silence[k] < TIMEOUT -> M.silence[k]++
		:: else
		fi
	}
	for (k : 0 .. UNITS - 1) {
		M.delivery[k] = (M.delivery[k] > 0 -> M.delivery[k] - 1 : 0)	/* its context ends */
	}
}

inline start(w, u) {
	for (k : 0 .. WORKERS - 1) {
		assert(k == w || members[k].delivery[u] == 0);
		for (j : 0 .. UNITS - 1) {
			assert(k == w || members[k].delivery[j] == 0 || folds[k].epoch[j] == OWN.epoch[u])
		}
	}
	M.delivery[u] = SEND
}

/* The records, in rec. */
inline make(w, what) {
	clear(rec);
	rec.kind = what; rec.worker = w; rec.session = M.session;
	M.seq++; rec.seq = M.seq
}

inline makeJoin(w) {
	clear(rec);
	rec.kind = JOIN; rec.worker = w; rec.incarnation = M.incarnation; rec.store = M.store
}

inline makeBeat(w) {
	make(w, HEARTBEAT);
	M.beat = rec.seq; M.age = 0
}

inline makeExpire(w, who) {
	clear(rec);
	rec.kind = EXPIRE; rec.worker = who; rec.session = OWN.session[who]; rec.heartbeat = OWN.heartbeat[who]
}

/* A request that is sent again has its number, and a sequence of its own. */
inline makeClaim(w, u, above) {
	make(w, CLAIM);
	if
	:: M.request[u] == 0 -> M.request[u] = rec.seq
	:: else
	fi;
	rec.request = M.request[u]; rec.unit = u; rec.epoch = M.config; rec.generation = above
}

inline makeRelease(w, u, what) {
	make(w, RELEASE);
	rec.unit = u; rec.generation = what
}

/* gone is the end of the process, with all that it had in memory. */
inline gone(w) {
	M.joined = 0; M.session = 0; M.seq = 0; M.incarnation++;
	M.lease = 0; M.joinFrom = 0; M.beat = 0; M.age = 0; M.config = newest;
	for (k : 0 .. WORKERS - 1) { M.silence[k] = 0 }
	for (k : 0 .. UNITS - 1) {
		M.request[k] = 0; M.grant[k] = 0; M.released[k] = 0; M.former[k] = 0; M.delivery[k] = 0
	}
}

/* ---- What must stay possible ---- */

/* settle has one worker go on by the same rules, the others gone and nothing in flight, until it may run all units. */
inline settle(w) {
	for (i : 0 .. WORKERS * FLIGHTS - 1) { clear(flying[i]); stored[i] = 0 }
	M.config = newest;
	settled = 0;
	do
	:: settled -> break
	:: !settled && OWN.offset < folds[LOG].offset -> read(w)
	:: else ->
		alive = WORKERS; wrong = UNITS; closed = UNITS;
		for (i : 0 .. WORKERS - 1) {
			if
			:: OWN.session[i] != 0 && OWN.session[i] != M.session -> alive = i
			:: else
			fi
		}
		for (i : 0 .. UNITS - 1) {
			if
			:: M.joined && OWN.owner[i] == M.session && (!OWNS(i) || OWN.epoch[i] != newest) -> wrong = i
			:: M.joined && OWN.owner[i] == 0 -> closed = i
			:: else
			fi
		}
		clear(rec);
		if
		:: alive < WORKERS ->
			if
			:: M.silence[alive] < TIMEOUT -> skip
			:: else -> makeExpire(w, alive)
			fi
		:: alive == WORKERS && !M.joined ->
			if
			:: M.joinFrom > 0 -> skip
			:: else -> makeJoin(w)
			fi
		:: alive == WORKERS && M.joined && wrong < UNITS ->
			M.released[wrong] = M.grant[wrong]; makeRelease(w, wrong, OWN.generation[wrong])
		:: alive == WORKERS && M.joined && wrong == UNITS && closed < UNITS -> M.request[closed] = 0; makeClaim(w, closed, 0)
		:: else ->
			if
			:: M.lease == 0 -> makeBeat(w)
			:: else -> settled = 1
			fi
		fi;
		if
		:: settled
		:: !settled && rec.kind == 0 -> tick(w)
		:: else ->
			assert(folds[LOG].offset < LAST);	/* or the worker gets nowhere */
			appendRecord(rec)
		fi
	od;
	for (i : 0 .. UNITS - 1) { assert(OPEN(i) && OWN.epoch[i] == newest) }
}

/*
 * reset makes the first state: all have joined, worker 0 was granted unit 0 at epoch 1 (and has yet to give back what it had
 * of it in a session before), and all have read that. It comes
 * after settle too, which so adds no states.
 */
inline reset() {
	for (i : 0 .. LAST) { clear(log[i]) }
	for (i : 0 .. WORKERS * FLIGHTS - 1) { clear(flying[i]); stored[i] = 0 }
	for (i : 0 .. WORKERS) {
		folds[i].offset = 0; folds[i].floor = 0;
		for (j : 0 .. WORKERS - 1) {
			folds[i].session[j] = 0; folds[i].incarnation[j] = 0; folds[i].store[j] = 0; folds[i].seq[j] = 0;
			folds[i].heartbeat[j] = 0
		}
		for (j : 0 .. UNITS - 1) {
			folds[i].owner[j] = 0; folds[i].generation[j] = 0; folds[i].epoch[j] = 0; folds[i].top[j] = 0
		}
	}
	for (i : 0 .. WORKERS - 1) {
		gone(i);
		members[i].incarnation = 1; members[i].store = 1; members[i].config = 1; answered[i] = 0
	}
	for (i : 0 .. UNITS - 1) { highest[i] = 0 }
	newest = 1; restarts = 0;
	for (i : 0 .. WORKERS) {
		folds[i].offset = WORKERS + 1; folds[i].seq[0] = 1; folds[i].floor = 1;
		folds[i].owner[0] = 1; folds[i].generation[0] = WORKERS + 1; folds[i].epoch[0] = 1;
		for (j : 0 .. WORKERS - 1) {
			folds[i].session[j] = j + 1; folds[i].heartbeat[j] = j + 1;
			folds[i].incarnation[j] = 1; folds[i].store[j] = 1
		}
	}
	for (i : 0 .. WORKERS - 1) { members[i].joined = 1; members[i].session = i + 1 }
	members[0].seq = 1; members[0].grant[0] = WORKERS + 1; members[0].former[0] = 1;
	highest[0] = WORKERS + 1; highestEpoch = 1; answered[0] = 1
}

/* ---- What may happen ---- */

/*
 * A record is stored once or more, at any time until FLIGHTS later ones of its worker have been sent: the result of an append
 * may be an error, and the record be stored late. One that is lost for good is as if the worker had not got round to it.
 */
#define OLDEST (w + WORKERS * (FLIGHTS - 1))
#define ROOM (flying[w].kind == 0 || flying[OLDEST].kind == 0 || stored[OLDEST])
inline send(w) {
#if FLIGHTS > 1
	if
	:: flying[w].kind != 0 -> set(flying[w + WORKERS], flying[w]); stored[w + WORKERS] = stored[w]
	:: else
	fi;
#endif
	set(flying[w], rec); stored[w] = 0; clear(rec)
}

#define MORE (folds[LOG].offset < WORKERS + 1 + RECORDS)
#define MAY_SEND (MORE && ROOM)
/* What a session sends that has ended changes nothing, so it is not sent. */
#define SPEAKS (MAY_SEND && M.joined && folds[LOG].session[w] == M.session)
#define RESTART (MORE && M.joined && restarts < RESTARTS)

proctype Worker(byte w) {
end:	do
	:: d_step { OWN.offset < folds[LOG].offset -> read(w); skip }
	:: d_step { MAY_SEND && !M.joined && MAY_JOIN -> makeJoin(w); send(w); skip }
	:: d_step { SPEAKS -> makeBeat(w); send(w); skip }
	:: d_step { M.config < newest -> M.config++ }
	/* A clean stop; what comes after it is another incarnation. */
	:: d_step { SPEAKS && RESTART -> restarts++; make(w, LEAVE); send(w); gone(w); skip }
	/* Death, and a restart in the store or without it. */
	:: d_step { RESTART -> restarts++; gone(w); skip }
	:: d_step { RESTART -> restarts++; gone(w); M.store++ }
	/* A session is given up by a process that lives, for the log does not go on where it was read to. */
	:: d_step { RESTART -> restarts++; lose(w); skip }
	:: d_step { settle(w); reset(); skip }
	od
}

/* Judge is worker w's eye on another session. */
proctype Judge(byte w; byte who) {
end:	do
	:: d_step { MAY_SEND && OWN.session[who] != 0 && OWN.session[who] != M.session && M.silence[who] >= TIMEOUT ->
		makeExpire(w, who); send(w); skip }
	od
}

/* Task is what worker w does about one unit. */
proctype Task(byte w; byte u) {
end:	do
	:: d_step { SPEAKS && OWN.owner[u] == 0 -> makeClaim(w, u, 0); send(w); skip }
#if EARLIER > 0
	:: d_step { SPEAKS && OWN.owner[u] == 0 -> makeClaim(w, u, EARLIER); send(w); skip }
#endif
	/* Abandon */
	:: d_step { M.request[u] != 0 -> M.request[u] = 0 }
	:: d_step { OPEN(u) && M.delivery[u] == 0 -> start(w, u); skip }
	/* Release, which ends the delivery, and again until it is read back. */
	:: d_step { SPEAKS && M.grant[u] != 0 ->
		M.delivery[u] = 0; M.released[u] = M.grant[u]; makeRelease(w, u, M.grant[u]); send(w); skip }
	:: d_step { SPEAKS && M.former[u] != 0 -> makeRelease(w, u, M.former[u]); M.former[u] = 0; send(w); skip }
	od
}

/* A refused record changes no fold, so it is left out of the log; what can never be accepted any more is forgotten. */
#define VOID(r) (r.kind == EXPIRE || r.kind != JOIN && \
	(folds[LOG].session[r.worker] != r.session || LATE(r.seq, folds[LOG].seq[r.worker])))

proctype Network(byte n) {
end:	do
	:: d_step { MORE && flying[n].kind != 0 ->
		appendRecord(flying[n]);
		stored[n] = 1;
		if
		:: !accepted -> clear(log[folds[LOG].offset]); folds[LOG].offset--
		:: else
		fi;
		if
		:: VOID(flying[n]) -> clear(flying[n]); stored[n] = 0
		:: else
		fi;
		skip }
	od
}

proctype World() {
end:	do
	:: d_step { for (i : 0 .. WORKERS - 1) { tick(i) } skip }
	:: d_step { newest < EPOCHS -> newest++ }
	od
}

init {
	d_step { reset(); skip }
	atomic {
		for (first : 0 .. WORKERS - 1) {
			run Worker(first);
			for (second : 0 .. WORKERS - 1) { run Judge(first, second) }
			for (second : 0 .. UNITS - 1) { run Task(first, second) }
		}
		for (first : 0 .. WORKERS * FLIGHTS - 1) { run Network(first) }
		run World()
	}
}
