import type { LaneView, PoolQueues, QueueList, WorkerList, WorkerView } from "@comfyline/client";
import { useQuery } from "@tanstack/react-query";
import { ago, duration, when } from "../../format.js";
import { LiveJobs } from "../../parts/live-jobs.js";
import { Columns } from "../../parts/columns.js";
import type { Column } from "../../parts/columns.js";
import { Trouble } from "../../parts/trouble.js";
import { queuesQuery, workersQuery } from "../../operate.js";
import { useSession } from "../../session.js";
import { operate } from "../../texts/operate.js";
import { useArea, useLanguage, useTexts } from "../../texts/index.js";
import "../../operate.css";

const GIB = 2 ** 30;

/** What the whole service does at this moment: queues, workers and the jobs of all owners. */
export default function NowPage() {
  const texts = useTexts();
  const own = useArea(operate);
  const { client } = useSession();
  const queues = useQuery(queuesQuery(client));
  const workers = useQuery(workersQuery(client));
  const error = queues.error ?? workers.error;
  const again = () => void Promise.all([queues.refetch(), workers.refetch()]);
  return (
    <>
      <h1>{own.nowTitle}</h1>
      {error && <Trouble error={error} again={again} />}
      {!error && !queues.data && <p className="muted">{texts.loading}</p>}
      {queues.data && <Figures queues={queues.data} workers={workers.data} />}
      {queues.data?.pools.map((pool) => (
        <Queues key={pool.pool} pool={pool} isOnly={queues.data.pools.length === 1} />
      ))}
      {workers.data && <Workers found={workers.data} />}
      <LiveJobs />
    </>
  );
}

function Figures({ queues, workers }: { queues: QueueList; workers: WorkerList | undefined }) {
  const own = useArea(operate);
  const language = useLanguage();
  const lanes = queues.pools.flatMap((pool) => pool.lanes);
  const sum = (name: "waiting" | "in_flight") =>
    lanes.reduce((total, lane) => total + lane[name], 0);
  const busy = workers?.workers.filter((worker) => worker.held_jobs > 0).length ?? 0;
  const dead = queues.dead_letters.waiting + queues.dead_letters.in_flight;
  const parked = queues.parked_settlements.waiting + queues.parked_settlements.in_flight;
  return (
    <>
      <p className="muted">{own.asOf(ago(queues.at, language))}</p>
      <dl className="figures now">
        <Figure title={own.workersUp} value={workers?.workers_total}>
          {own.workersBusy(busy)}
        </Figure>
        <Figure title={own.jobsRunning} value={sum("in_flight")} />
        <Figure title={own.jobsWaiting} value={sum("waiting")} />
        <Figure title={own.deadLetters} value={dead} isBad={dead > 0} />
        <Figure title={own.parked} value={parked} isBad={parked > 0} />
      </dl>
      {dead + parked > 0 && <a href="#/trouble">{own.seeTrouble}</a>}
    </>
  );
}

interface FigureProps {
  title: string;
  value: number | undefined;
  isBad?: boolean;
  children?: React.ReactNode;
}

function Figure({ title, value, isBad = false, children }: FigureProps) {
  const language = useLanguage();
  return (
    <div className={isBad ? "bad" : undefined}>
      <dt>{title}</dt>
      <dd>
        {value === undefined ? "–" : new Intl.NumberFormat(language).format(value)}
        {children && <small className="muted"> {children}</small>}
      </dd>
    </div>
  );
}

function Queues({ pool, isOnly }: { pool: PoolQueues; isOnly: boolean }) {
  const own = useArea(operate);
  const title = isOnly ? own.queues : `${own.queues}: ${own.pool(pool.pool)}`;
  const columns: Column<LaneView>[] = [
    { title: own.lane, cell: ({ lane }) => <strong>{own.lanes[lane] ?? lane}</strong> },
    { title: own.waiting, cell: ({ waiting }) => <Number value={waiting} /> },
    { title: own.inFlight, cell: ({ in_flight }) => <Number value={in_flight} /> },
    {
      title: own.oldest,
      cell: ({ oldest_waiting_since: at }) => (at ? <Waited since={at} /> : "–"),
    },
  ];
  return (
    <section>
      <h2>{title}</h2>
      <div className="columns queues">
        <div>
          <Columns label={title} columns={columns} rows={pool.lanes} keyOf={({ lane }) => lane} />
          {!pool.knows_oldest && <p className="muted">{own.oldestUnsure}</p>}
        </div>
        <Scaler state={pool.scaler ?? undefined} />
      </div>
    </section>
  );
}

function Scaler({ state }: { state: PoolQueues["scaler"] | undefined }) {
  const own = useArea(operate);
  return (
    <div className="sheet">
      <h3>{own.scaler}</h3>
      {!state && <p className="muted">{own.noScaler}</p>}
      {state && (
        <dl className="facts">
          <div>
            <dt>{own.asked}</dt>
            <dd>{own.sizes(state.asked.ondemand, state.asked.spot)}</dd>
          </div>
          <div>
            <dt>{own.runs}</dt>
            <dd>{own.sizes(state.running.ondemand, state.running.spot)}</dd>
          </div>
          <div>
            <dt>{own.ready}</dt>
            <dd>{state.ready}</dd>
          </div>
          <div>
            <dt>{own.why}</dt>
            <dd>{own.reasons[state.reason] ?? state.reason}</dd>
          </div>
          <div>
            <dt>{own.unchangedSince}</dt>
            <dd>
              <Time at={state.since} />
            </dd>
          </div>
        </dl>
      )}
    </div>
  );
}

function Workers({ found }: { found: WorkerList }) {
  const own = useArea(operate);
  const { workers, workers_total: total } = found;
  const columns: Column<WorkerView>[] = [
    { title: own.state, cell: (worker) => <State worker={worker} /> },
    { title: own.worker, cell: ({ worker_id }) => <code className="id">{worker_id}</code> },
    { title: own.job, cell: (worker) => <Held worker={worker} /> },
    { title: own.checkpoint, cell: ({ checkpoint }) => checkpoint ?? "–" },
    { title: own.machine, cell: (worker) => <Machine worker={worker} /> },
    { title: own.image, cell: (worker) => <Image worker={worker} /> },
    { title: own.reported, cell: ({ reported_at }) => <Time at={reported_at} /> },
  ];
  return (
    <section>
      <h2>{own.workers}</h2>
      {workers.length === 0 && (
        <div className="empty">
          <p>{own.noWorkers}</p>
          <p className="muted">{own.noWorkersHint}</p>
        </div>
      )}
      {workers.length > 0 && (
        <Columns
          label={own.workers}
          columns={columns}
          rows={workers}
          keyOf={({ worker_id }) => worker_id}
        />
      )}
      {total > workers.length && <p className="muted">{own.moreWorkers(total - workers.length)}</p>}
    </section>
  );
}

function State({ worker: { state, reason } }: { worker: WorkerView }) {
  const own = useArea(operate);
  return (
    <>
      <span className={`badge ${state}`}>{own.states[state] ?? state}</span>
      {reason && <span className="reason">{reason}</span>}
    </>
  );
}

function Held({ worker: { jobs, held_jobs: held } }: { worker: WorkerView }) {
  const own = useArea(operate);
  if (!jobs?.length) return held ? own.held(held) : "–";
  return jobs.map(({ job_id: id, owner }) => (
    <span key={id} className="held">
      <code className="id">{id}</code> <span className="muted">{owner}</span>
    </span>
  ));
}

function Machine({ worker }: { worker: WorkerView }) {
  const own = useArea(operate);
  const memory = worker.gpu_memory_bytes;
  const gpu = [worker.gpu, memory && `${Math.round(memory / GIB)} GiB`].filter(Boolean).join(", ");
  const capacity = worker.capacity && (own.capacities[worker.capacity] ?? worker.capacity);
  const place = [worker.instance_type, capacity, worker.zone, worker.instance_id];
  return (
    <>
      {gpu || <span className="muted">{own.unknown}</span>}
      <small className="muted">{place.filter(Boolean).join(" · ")}</small>
    </>
  );
}

function Image({ worker: { image, engine_version: version } }: { worker: WorkerView }) {
  const own = useArea(operate);
  if (!image && !version) return <span className="muted">{own.unknown}</span>;
  return (
    <>
      {image && <span className="id">{image.split("/").at(-1)}</span>}
      {version && <small className="muted id">{version}</small>}
    </>
  );
}

function Waited({ since }: { since: string }) {
  const language = useLanguage();
  const seconds = (Date.now() - new Date(since).getTime()) / 1000;
  return <time dateTime={since}>{duration(Math.max(0, Math.round(seconds)), language)}</time>;
}

function Number({ value }: { value: number }) {
  return new Intl.NumberFormat(useLanguage()).format(value);
}

function Time({ at }: { at: string }) {
  const language = useLanguage();
  return (
    <time dateTime={at} title={when(at, language)}>
      {ago(at, language)}
    </time>
  );
}
