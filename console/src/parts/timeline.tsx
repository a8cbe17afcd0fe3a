import type { EventList, JobView } from "@comfyline/client";
import { between, duration, when } from "../format.js";
import { useLanguage, useTexts } from "../texts/index.js";

type Event = EventList["events"][number];

/** Every change of the job's state, with the attempt and the reason. */
export function Timeline({ events, job }: { events: Event[]; job: JobView }) {
  const texts = useTexts();
  const language = useLanguage();
  return (
    <ol className="timeline">
      {events.map((event, n) => {
        const spent = between(events[n - 1]?.at, event.at);
        return (
          <li key={event.version} className={event.status}>
            <span className="event-name">
              {texts.events[event.event] ?? event.event.replaceAll("_", " ")}
            </span>
            <span className="muted">
              {event.attempt > 0 && `${texts.attempt(event.attempt)} · `}
              <time dateTime={event.at}>{when(event.at, language)}</time>
              {spent !== undefined && ` (+${duration(spent, language)})`}
            </span>
            {event.status === "failed" && job.error && (
              <span className="card-error">{job.error.message}</span>
            )}
          </li>
        );
      })}
    </ol>
  );
}
