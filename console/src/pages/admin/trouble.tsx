import type { FailureGroup, FailureList } from "@comfyline/client";
import { useQuery } from "@tanstack/react-query";
import { ago, when } from "../../format.js";
import { Alarms, Audit } from "../../parts/alarms.js";
import { DeadLetters } from "../../parts/dead-letters.js";
import { Table } from "../../parts/table.js";
import { Trouble } from "../../parts/trouble.js";
import { errorsQuery } from "../../queries.js";
import { go, jobLink } from "../../router.js";
import type { Place } from "../../router.js";
import { useSession } from "../../session.js";
import { useLanguage, useTexts } from "../../texts/index.js";

const DAYS = [1, 7, 30];
const WEEK = 7;

/** What is wrong: alarms, dead letters and what fails, of all owners. */
export default function TroublePage({ query }: Place) {
  const texts = useTexts();
  return (
    <>
      <h1>{texts.trouble}</h1>
      <Alarms />
      <DeadLetters />
      <Failures days={DAYS.find((days) => String(days) === query.get("days")) ?? WEEK} />
      <Audit />
    </>
  );
}

function Failures({ days }: { days: number }) {
  const texts = useTexts();
  const { client } = useSession();
  const errors = useQuery(errorsQuery(client, days));
  return (
    <section>
      <div className="title">
        <h2 className="grow">{texts.failures}</h2>
        <label className="inline">
          {texts.period}
          <select value={days} onChange={({ target }) => go(`#/trouble?days=${target.value}`)}>
            {DAYS.map((each) => (
              <option key={each} value={each}>
                {texts.lastDays(each)}
              </option>
            ))}
          </select>
        </label>
      </div>
      {errors.error && <Trouble error={errors.error} again={() => void errors.refetch()} />}
      {errors.isPending && <p className="muted">{texts.loading}</p>}
      {errors.data && <Groups list={errors.data} />}
    </section>
  );
}

function Groups({ list }: { list: FailureList }) {
  const texts = useTexts();
  if (list.groups.length === 0) return <p className="empty">{texts.noFailures}</p>;
  return (
    <>
      <p className="muted">{texts.failureCount(list.jobs, list.groups_total)}</p>
      <Table
        label={texts.failures}
        head={[
          texts.failedJobs,
          texts.errorType,
          texts.nodeClass,
          texts.lastSeen,
          texts.engineVersion,
          texts.sampleJobs,
        ]}
      >
        {list.groups.map((group) => (
          <Row key={`${group.type} ${group.node_type} ${group.engine_version}`} group={group} />
        ))}
      </Table>
    </>
  );
}

function Row({ group }: { group: FailureGroup }) {
  const texts = useTexts();
  const language = useLanguage();
  return (
    <tr>
      <td className="num strong">{new Intl.NumberFormat(language).format(group.jobs)}</td>
      <th scope="row">
        <code>{group.type}</code>
      </th>
      <td>{group.node_type ? <code>{group.node_type}</code> : <span className="muted">–</span>}</td>
      <td>
        <time dateTime={group.last_at} title={when(group.last_at, language)}>
          {ago(group.last_at, language)}
        </time>
        <br />
        <small className="muted">{texts.firstSeen(ago(group.first_at, language))}</small>
      </td>
      <td>
        {group.engine_version ? (
          <code title={group.engine_version}>{group.engine_version.slice(0, 8)}</code>
        ) : (
          <span className="muted">–</span>
        )}
      </td>
      <td>
        <Samples group={group} />
      </td>
    </tr>
  );
}

/** The console shows the jobs of one owner, so the jobs of others are no links. */
function Samples({ group }: { group: FailureGroup }) {
  const { caller } = useSession();
  return (
    <ul className="plain">
      {group.samples.map(({ job_id: id, owner }) => (
        <li key={id}>
          {owner === caller.owner ? (
            <a href={jobLink(id)}>
              <code>{id}</code>
            </a>
          ) : (
            <code>{id}</code>
          )}{" "}
          <small className="muted">{owner}</small>
        </li>
      ))}
    </ul>
  );
}
