/**
 * Reads a GRUB script (grub.cfg) as far as grub-mkconfig writes it: commands, if, functions, menu entries. Nothing is run here. The work is
 * bounded by the length of the text and MAX_DEPTH.
 */
import { KernelPatchError } from '../errors.ts';

/** What a variable holds is put in its place when the statement is run. */
export type Part = { readonly text: string } | { readonly variable: string };

export interface Word {
  readonly parts: readonly Part[];
  /** Any of it is in quotes: it is a word even when it is empty. */
  readonly quoted: boolean;
}

export interface Command {
  readonly kind: 'Command';
  readonly line: number;
  readonly words: readonly Word[];
}

export interface Branch {
  readonly condition: readonly Statement[];
  readonly body: readonly Statement[];
}

export interface Menu {
  readonly kind: 'Menu';
  readonly line: number;
  /** It holds entries of its own. */
  readonly submenu: boolean;
  readonly words: readonly Word[];
  readonly body: readonly Statement[];
}

export type Statement =
  | Command
  | Menu
  | { readonly kind: 'If'; readonly line: number; readonly branches: readonly Branch[]; readonly otherwise: readonly Statement[] }
  | { readonly kind: 'Function'; readonly line: number; readonly name: string; readonly body: readonly Statement[] };

type Token = { readonly line: number } & ({ readonly kind: 'Word'; readonly word: Word } | { readonly kind: 'End' | 'Open' | 'Close' });

/** A submenu of a submenu, with two conditions in each, has 8. */
const MAX_DEPTH = 16;
const LOOPS: ReadonlySet<string> = new Set(['for', 'while', 'until', 'select', 'case', 'time']);
const NAME = '[A-Za-z_][A-Za-z0-9_]*|[0-9?#@*]';
const SPACE = /(?:[ \t\r]|\\\r?\n)+/y;
const COMMENT = /#[^\n]*/y;
const PLAIN = /[^ \t\r\n;'"\\${}|&<>]+/y;
const WORD_END = /[ \t\r\n;{}]/;
const SINGLE_QUOTED = /'([^']*)'/y;
const DOUBLE_QUOTED_TEXT = /[^"\\$]+/y;
const ESCAPED = /\\([\s\S])/y;
const VARIABLE = new RegExp(`\\$(?:\\{(${NAME})\\}|(${NAME}))`, 'y');

/** Throws BootLoaderUnknown, as all of these do. */
export function notUnderstood(line: number, what: string): never {
  throw new KernelPatchError('BootLoaderUnknown', `line ${line} ${what}`);
}

export function parseScript(text: string): readonly Statement[] {
  const reader = readerOf(tokenize(text));
  const statements = parseStatements(reader, [], 0);
  const left = reader.peek();
  if (left !== undefined) notUnderstood(left.line, 'closes what was not opened');
  return statements;
}

function tokenize(text: string): readonly Token[] {
  const tokens: Token[] = [];
  let at = 0;
  let line = 1;

  function take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = at;
    const match = pattern.exec(text) ?? undefined;
    if (match === undefined) return undefined;
    at = pattern.lastIndex;
    line += match[0].split('\n').length - 1;
    return match;
  }

  function takeDoubleQuoted(): readonly Part[] {
    const from = line;
    const parts: Part[] = [];
    at += 1;
    while (text[at] !== '"') {
      const plain = take(DOUBLE_QUOTED_TEXT);
      const escaped = plain ?? take(ESCAPED);
      if (plain) parts.push({ text: plain[0] });
      else if (escaped) parts.push({ text: '$"\\'.includes(escaped[1] ?? '') ? (escaped[1] ?? '') : escaped[0] });
      else if (at >= text.length) notUnderstood(from, 'has a quote that does not end');
      else parts.push(takeVariable());
    }
    at += 1;
    return parts.length > 0 ? parts : [{ text: '' }];
  }

  function takeVariable(): Part {
    const match = take(VARIABLE);
    return { variable: match?.[1] ?? match?.[2] ?? notUnderstood(line, `has "${text.slice(at, at + 8)}", which is not read`) };
  }

  function takePart(): readonly Part[] {
    const plain = take(PLAIN);
    if (plain) return [{ text: plain[0] }];
    const quoted = take(SINGLE_QUOTED);
    if (quoted) return [{ text: quoted[1] ?? '' }];
    if (text[at] === '"') return takeDoubleQuoted();
    const escaped = take(ESCAPED);
    return escaped ? [{ text: escaped[1] ?? '' }] : [takeVariable()];
  }

  function takeWord(): void {
    const from = line;
    const start = at;
    const parts: Part[] = [];
    while (at < text.length && !WORD_END.test(text[at] ?? '')) parts.push(...takePart());
    tokens.push({ kind: 'Word', line: from, word: { parts, quoted: /['"\\]/.test(text.slice(start, at)) } });
  }

  const MARKS: Readonly<Record<string, 'End' | 'Open' | 'Close'>> = { '\n': 'End', ';': 'End', '{': 'Open', '}': 'Close' };
  for (;;) {
    if (take(SPACE) || take(COMMENT)) continue;
    const mark = MARKS[text[at] ?? ''];
    if (at >= text.length) return tokens;
    if (mark === undefined) takeWord();
    else {
      tokens.push({ kind: mark, line });
      if (text[at] === '\n') line += 1;
      at += 1;
    }
  }
}

interface Reader {
  /** Nothing before it ends a statement. undefined: the text is over. */
  peek(): Token | undefined;
  next(): Token | undefined;
  /** Passes the ends of statements. */
  skipEnds(): void;
}

function readerOf(tokens: readonly Token[]): Reader {
  let at = 0;
  return {
    peek: () => tokens[at],
    next: () => tokens[at++],
    skipEnds() {
      while (tokens[at]?.kind === 'End') at += 1;
    },
  };
}

/** A word that is written as it stands, without quotes or variables: as a keyword is. */
function plainOf(token: Token | undefined): string | undefined {
  if (token?.kind !== 'Word' || token.word.quoted) return undefined;
  const [part, ...more] = token.word.parts;
  return part !== undefined && 'text' in part && more.length === 0 ? part.text : undefined;
}

type Stop = 'then' | 'elif' | 'else' | 'fi' | '}';
const STOPS: ReadonlySet<string> = new Set<Stop>(['then', 'elif', 'else', 'fi', '}']);

function stopOf(token: Token | undefined): Stop | undefined {
  const word = token?.kind === 'Close' ? '}' : plainOf(token);
  return word !== undefined && STOPS.has(word) ? (word as Stop) : undefined;
}

/** Up to one of `stops`, or to the end when there are none; what stops it is not passed. */
function parseStatements(reader: Reader, stops: readonly Stop[], depth: number): readonly Statement[] {
  const statements: Statement[] = [];
  for (;;) {
    reader.skipEnds();
    const token = reader.peek();
    const stop = stopOf(token);
    if (token === undefined || (stop !== undefined && (stops.includes(stop) || stops.length === 0))) return statements;
    if (stop !== undefined) notUnderstood(token.line, `has "${stop}" where ${stops.join(' or ')} is due`);
    if (depth >= MAX_DEPTH) notUnderstood(token.line, `is nested deeper than ${MAX_DEPTH}`);
    statements.push(parseStatement(reader, token, depth + 1));
  }
}

function parseStatement(reader: Reader, token: Token, depth: number): Statement {
  const keyword = plainOf(token);
  const { line } = token;
  if (keyword !== undefined && LOOPS.has(keyword)) notUnderstood(line, `has "${keyword}", which grub-mkconfig does not write`);
  if (keyword === 'if') return parseIf(reader, depth);
  if (keyword === 'function') return parseFunction(reader, depth);
  const words = takeWords(reader);
  if (words.length === 0) notUnderstood(line, 'has a brace in the place of a command');
  if (keyword !== 'menuentry' && keyword !== 'submenu') return { kind: 'Command', line, words };
  return { kind: 'Menu', line, submenu: keyword === 'submenu', words: words.slice(1), body: parseBlock(reader, line, depth) };
}

/** To the end of the statement, or to a brace. */
function takeWords(reader: Reader): readonly Word[] {
  const words: Word[] = [];
  for (let token = reader.peek(); token?.kind === 'Word'; token = reader.peek()) {
    words.push(token.word);
    reader.next();
  }
  return words;
}

function parseBlock(reader: Reader, line: number, depth: number): readonly Statement[] {
  reader.skipEnds();
  if (reader.next()?.kind !== 'Open') notUnderstood(line, 'has no { behind it');
  const body = parseStatements(reader, ['}'], depth);
  if (reader.next() === undefined) notUnderstood(line, 'opens a { that is not closed');
  return body;
}

function parseFunction(reader: Reader, depth: number): Statement {
  const { line = 0 } = reader.next() ?? {};
  const name = plainOf(reader.next()) ?? notUnderstood(line, 'has a function without a name');
  return { kind: 'Function', line, name, body: parseBlock(reader, line, depth) };
}

function parseIf(reader: Reader, depth: number): Statement {
  const { line = 0 } = reader.peek() ?? {};
  const branches: Branch[] = [];
  for (;;) {
    const stop = plainOf(reader.next());
    if (stop === 'fi') return { kind: 'If', line, branches, otherwise: [] };
    if (stop === 'else') {
      const otherwise = parseStatements(reader, ['fi'], depth);
      if (reader.next() === undefined) notUnderstood(line, 'has an if without its fi');
      return { kind: 'If', line, branches, otherwise };
    }
    const condition = parseStatements(reader, ['then'], depth);
    if (reader.next() === undefined) notUnderstood(line, 'has an if without its then');
    const body = parseStatements(reader, ['elif', 'else', 'fi'], depth);
    if (reader.peek() === undefined) notUnderstood(line, 'has an if without its fi');
    branches.push({ condition, body });
  }
}
