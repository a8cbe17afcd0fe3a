import type { AlarmView } from "@comfyline/client";
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useState } from "react";
import { ago, when } from "../format.js";
import { alarmsQuery } from "../operate.js";
import { useSession } from "../session.js";
import { operate } from "../texts/operate.js";
import { useArea, useLanguage, useTexts } from "../texts/index.js";
import { Command } from "./command.js";
import { Trouble } from "./trouble.js";
import "../operate.css";

const Runbook = lazy(() => import("./runbook.js"));

/** The deployment's alarms, each with what the runbook says about it. */
export function Alarms() {
  const texts = useTexts();
  const own = useArea(operate);
  const { client } = useSession();
  const { data, error, refetch } = useQuery(alarmsQuery(client));
  const loud = data?.alarms.filter(({ state }) => state === "raised") ?? [];
  const quiet = data?.alarms.filter(({ state }) => state !== "raised") ?? [];
  return (
    <section>
      <h2>{own.alarmsTitle}</h2>
      {error && <Trouble error={error} again={() => void refetch()} />}
      {!error && !data && <p className="muted">{texts.loading}</p>}
      {data && !data.watched && (
        <div className="empty">
          <p>{own.noAlarms}</p>
          <p className="muted">{own.noAlarmsHint}</p>
        </div>
      )}
      {data?.watched && !loud.length && <p>{own.allQuiet}</p>}
      {loud.map((alarm) => (
        <Alarm key={alarm.name} alarm={alarm} />
      ))}
      {quiet.length > 0 && (
        <details>
          <summary>{own.quietOnes(quiet.length)}</summary>
          {quiet.map((alarm) => (
            <Alarm key={alarm.name} alarm={alarm} />
          ))}
        </details>
      )}
    </section>
  );
}

function Alarm({ alarm: { name, description, state, since } }: { alarm: AlarmView }) {
  const texts = useTexts();
  const own = useArea(operate);
  const language = useLanguage();
  const [isOpen, setOpen] = useState(false);
  return (
    <article className={`alarm ${state}`}>
      <h3>
        <span className={`badge ${state}`}>{own.alarmStates[state] ?? state}</span> {name}
      </h3>
      <p>
        {description}{" "}
        <time className="muted" dateTime={since} title={when(since, language)}>
          {ago(since, language)}
        </time>
      </p>
      <details onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
        <summary>{own.whatToDo}</summary>
        {isOpen && (
          <Suspense fallback={<p className="muted">{texts.loading}</p>}>
            <Runbook section={name} otherwise={own.noSection} />
          </Suspense>
        )}
      </details>
    </article>
  );
}

/** A request cannot wait for an audit, so the page says how to run one. */
export function Audit() {
  const own = useArea(operate);
  return (
    <section>
      <h2>{own.auditTitle}</h2>
      <p>{own.auditHint}</p>
      <Command text="comfyline admin audit" />
    </section>
  );
}
