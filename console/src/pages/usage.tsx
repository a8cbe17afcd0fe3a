import { useQuery } from "@tanstack/react-query";
import { duration } from "../format.js";
import { Months } from "../parts/months.js";
import { Trouble } from "../parts/trouble.js";
import { modelsQuery, usageQuery } from "../queries.js";
import { useSession } from "../session.js";
import { useLanguage, useTexts } from "../texts/index.js";

/** What the owner has used, and what jobs may name. */
export default function UsagePage() {
  const texts = useTexts();
  const language = useLanguage();
  const { client } = useSession();
  const usage = useQuery(usageQuery(client));
  const models = useQuery(modelsQuery(client));
  const error = usage.error ?? models.error;
  const again = () => void Promise.all([usage.refetch(), models.refetch()]);
  return (
    <>
      <h1>{texts.usageTitle}</h1>
      {error && <Trouble error={error} again={again} />}
      {usage.data && (
        <>
          <dl className="figures">
            <div>
              <dt>{texts.gpuTime}</dt>
              <dd>{duration(usage.data.gpu_seconds, language)}</dd>
            </div>
            <div>
              <dt>{texts.endedJobs}</dt>
              <dd>{new Intl.NumberFormat(language).format(usage.data.jobs)}</dd>
            </div>
            <div>
              <dt>{texts.owner}</dt>
              <dd>{usage.data.owner}</dd>
            </div>
          </dl>
          <p className="muted">{texts.usageHint}</p>
          {usage.data.months && <Months months={usage.data.months} />}
        </>
      )}
      {models.data && (
        <>
          <h2>{texts.models}</h2>
          <Names title={texts.checkpoints} names={models.data.checkpoints} />
          <Names title={texts.samplers} names={models.data.samplers} />
          <Names title={texts.schedulers} names={models.data.schedulers} />
          <Names title={texts.nodeClasses} names={models.data.node_classes} />
        </>
      )}
    </>
  );
}

function Names({ title, names }: { title: string; names: string[] }) {
  const texts = useTexts();
  return (
    <details>
      <summary>
        {title} ({names.length || texts.anyName})
      </summary>
      <ul className="names">
        {names.map((name) => (
          <li key={name}>
            <code>{name}</code>
          </li>
        ))}
      </ul>
    </details>
  );
}
