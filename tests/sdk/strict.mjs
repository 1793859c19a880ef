#!/usr/bin/env node
// Holds recorded answers of a hub against Seam's own zod models, unknown keys refused at every depth.
//
//   node tests/sdk/strict.mjs RECORD…
//
// A record has one JSON object a line: {"method", "path", "status", "body"}. Which model a path answers with is read
// from the OpenAPI document in @seamapi/types. The hub's own document must be among the answers: of every path and
// method in it that Seam has too, a good answer must have been seen.
//
// Exit 0 when all fits, 1 when something does not or was not to be seen, 2 when the call was wrong.

import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

// `schemas` of the package lacks access_grant, access_method and space: hence its inner files.
const installed = new URL('../../target/node/node_modules/', import.meta.url)
const types = new URL('@seamapi/types/lib/seam/connect/', installed)
const load = async (name) => await import(new URL(name, types))
const { default: openapi } = await load('openapi.js')
const models = await load('models/index.js')
// The same copy that the models are made with, or zod would not know them again.
const { z } = await import(new URL('zod/index.js', installed))

// What the hub serves beside the Seam API; this is no business of Seam's models.
const OWN = [/^\/encoderd\/v1\//, /^\/bridge\/v1\//, /^\/(healthz|readyz|metrics|openapi\.json)?$/]

// Where the hub knowingly follows types newer than 1.977: they page access_methods/list, and older clients ignore it.
const NEWER = { '/access_methods/list': { pagination: models.pagination.optional() } }

// OpenAPI component and zod model have the same name but for these.
const RENAMED = { event: 'seam_event' }

const strict_models = new Map()

/** The same schema, with unknown keys refused at every depth. */
export function strict(schema) {
  const known = strict_models.get(schema)
  if (known != null) return known
  const made = rebuilt(schema)
  strict_models.set(schema, made)
  return made
}

function rebuilt(schema) {
  const def = schema._def
  const remade = (changes) => new schema.constructor({ ...def, ...changes })
  switch (def.typeName) {
    case 'ZodObject': {
      const shape = Object.fromEntries(Object.entries(schema.shape).map(([name, inner]) => [name, strict(inner)]))
      // A schema that says what further keys hold means them.
      const closed = def.catchall._def.typeName === 'ZodNever'
      return remade({ shape: () => shape, unknownKeys: closed ? 'strict' : def.unknownKeys })
    }
    case 'ZodUnion':
      return remade({ options: def.options.map(strict) })
    case 'ZodDiscriminatedUnion':
      return z.discriminatedUnion(def.discriminator, def.options.map(strict))
    case 'ZodArray':
    case 'ZodBranded':
      return remade({ type: strict(def.type) })
    case 'ZodRecord':
      return remade({ valueType: strict(def.valueType) })
    case 'ZodTuple':
      return remade({ items: def.items.map(strict), rest: def.rest && strict(def.rest) })
    case 'ZodOptional':
    case 'ZodNullable':
    case 'ZodReadonly':
      return remade({ innerType: strict(def.innerType) })
    // In an answer, a default is no leave to omit the value.
    case 'ZodDefault':
      return strict(def.innerType)
    case 'ZodEffects':
      return remade({ schema: strict(def.schema) })
    case 'ZodLazy':
      return remade({ getter: () => strict(def.getter()) })
    case 'ZodAny':
    case 'ZodBoolean':
    case 'ZodDate':
    case 'ZodEnum':
    case 'ZodLiteral':
    case 'ZodNativeEnum':
    case 'ZodNever':
    case 'ZodNull':
    case 'ZodNumber':
    case 'ZodString':
    case 'ZodUndefined':
    case 'ZodUnknown':
      return schema
    // Intersections and pipelines among them: neither side of one knows the other's keys.
    default:
      throw new Error(`strict.mjs does not know how to make ${def.typeName} strict`)
  }
}

const validation_errors = z.lazy(() => z.object({ _errors: z.array(z.string()) }).catchall(validation_errors))

const refusal = z.strictObject({
  error: z.strictObject({
    type: z.string().min(1),
    message: z.string().min(1),
    data: z.record(z.unknown()).optional(),
    validation_errors: validation_errors.optional(),
  }),
  ok: z.literal(false),
})

/** The model of one property of an answer, from its OpenAPI schema. */
function model(property, name, path) {
  if (name === 'ok') return z.literal(true)
  if (property.type === 'string') return z.string()
  const reference = property.$ref ?? (property.type === 'array' ? property.items.$ref : undefined)
  const component = reference?.replace('#/components/schemas/', '')
  const found = models[RENAMED[component] ?? component]
  if (found == null) throw new Error(`${path}: no zod model for ${name}`)
  return property.$ref == null ? z.array(strict(found)) : strict(found)
}

/** What a path answers a method with when all is well; undefined when Seam has no such path or method. */
function success(method, path) {
  const operation = openapi.paths[path]?.[method.toLowerCase()]
  if (operation == null) return undefined
  const { properties, required } = operation.responses[200].content['application/json'].schema
  const shape = { ...NEWER[path] }
  for (const [name, property] of Object.entries(properties)) {
    const inner = model(property, name, path)
    shape[name] = required.includes(name) ? inner : inner.optional()
  }
  const answer = z.strictObject(shape)
  const action_type = operation['x-action-attempt-type']
  if (action_type == null) return answer
  return answer.refine(({ action_attempt }) => action_attempt.action_type === action_type, {
    path: ['action_attempt', 'action_type'],
    message: `the types say ${action_type}`,
  })
}

const schemas = new Map()

function schema_of(method, path) {
  const key = `${method} ${path}`
  if (!schemas.has(key)) schemas.set(key, success(method, path))
  return schemas.get(key)
}

/** Sentences about what is wrong with a recorded answer; undefined for what the Seam API does not have a say in. */
export function judge({ method, path, status, body }) {
  if (OWN.some((own) => own.test(path))) return undefined
  if (method === 'HEAD') return undefined
  const good = status >= 200 && status < 300
  const schema = good ? schema_of(method, path) : refusal
  if (schema == null) return [`the Seam API has no ${method} ${path}`]
  const parsed = schema.safeParse(body)
  return parsed.success ? [] : sentences(parsed.error.issues, body)
}

/** One sentence an issue; of a union, those of the member that fits best. */
function sentences(issues, body) {
  return issues.flatMap((issue) => {
    if (issue.code === 'invalid_union') {
      const members = issue.unionErrors.map((error) => error.issues)
      members.sort((one, other) => misfit(one) - misfit(other))
      return sentences(members[0], body)
    }
    const place = issue.path.join('.') || 'the answer'
    const value = issue.path.reduce((value, step) => value?.[step], body)
    return [`${place}: ${issue.message} (is ${clipped(JSON.stringify(value) ?? 'missing')})`]
  })
}

// A wrong literal means another member was meant, such as another action_type.
const misfit = (issues) =>
  issues.reduce((sum, issue) => sum + (['invalid_literal', 'invalid_enum_value'].includes(issue.code) ? 100 : 1), 0)

const clipped = (text) => (text.length > 200 ? `${text.slice(0, 200)}…` : text)

/** Judges records; what was counted, and each distinct complaint with how often it came. */
export function judge_all(lines) {
  const good = new Set()
  const complaints = new Map()
  const complain = (sentence) => {
    const complaint = sentence.replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, '<id>')
    complaints.set(complaint, (complaints.get(complaint) ?? 0) + 1)
  }
  let answers = 0
  let document
  for (const line of lines) {
    const record = JSON.parse(line)
    const { method, path, status, body } = record
    if (path === '/openapi.json' && status === 200) document = body
    const wrong = judge(record)
    if (wrong == null) continue
    answers += 1
    if (status < 300) good.add(`${method} ${path}`)
    for (const sentence of wrong) complain(`${method} ${path} ${status}: ${sentence}`)
  }
  if (document == null) complain("the hub's own /openapi.json is not among the answers")
  for (const promised of promises(document)) {
    if (!good.has(promised)) complain(`${promised}: no good answer of it was seen`)
  }
  return { answers, good, complaints }
}

/** Every method and path of the Seam API that a hub's document has. */
function promises(document) {
  const seams = Object.entries(document?.paths ?? {}).filter(([path]) => !OWN.some((own) => own.test(path)))
  return seams.flatMap(([path, operations]) => Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`))
}

function main(files) {
  if (files.length === 0) {
    console.error('usage: strict.mjs RECORD…')
    return 2
  }
  const absent = files.filter((file) => !existsSync(file))
  if (absent.length > 0) {
    console.error(`strict: nothing was recorded in ${absent.join(', ')}`)
    return 1
  }
  const lines = files.flatMap((file) => readFileSync(file, 'utf8').split('\n').filter((line) => line !== ''))
  const { answers, good, complaints } = judge_all(lines)
  for (const [complaint, times] of complaints) console.error(`${complaint}${times > 1 ? ` [${times} times]` : ''}`)
  console.log(`strict: ${answers} answers, good ones of ${good.size} methods and paths, ${complaints.size} complaints`)
  return complaints.size === 0 && good.size > 0 ? 0 : 1
}

if (process.argv[1] != null && import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) {
  process.exitCode = main(process.argv.slice(2))
}
