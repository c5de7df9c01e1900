/**
 * JSON without loss: an integer that a `number` can't hold exactly is a `bigint`, both ways.
 *
 * JSON.parse rounds such integers. Where a text has none, which is nearly always, JSON.parse does the
 * work.
 */

/** A run of digits that may be more than 2^53. It may stand in a string too; that costs time only. */
const LONG_NUMBER = /[0-9]{16}/;

/** Parses JSON. Throws SyntaxError. */
export function parseJson(text: string): unknown {
  return LONG_NUMBER.test(text) ? new Parser(text).parse() : JSON.parse(text);
}

/**
 * Prints JSON. Members that are undefined are left out. Throws TypeError for what JSON can't hold:
 * NaN, functions, undefined in an array.
 */
export function printJson(value: unknown): string {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return JSON.stringify(value);
    case 'bigint':
      return value.toString();
    case 'number':
      if (!Number.isFinite(value)) throw new TypeError(`JSON can't hold the number ${value}`);
      return JSON.stringify(value);
    case 'object':
      if (value === null) return 'null';
      if (Array.isArray(value)) return `[${value.map(printJson).join(',')}]`;
      return `{${Object.entries(value)
        .filter(([, member]) => member !== undefined)
        .map(([name, member]) => `${JSON.stringify(name)}:${printJson(member)}`)
        .join(',')}}`;
    default:
      throw new TypeError(`JSON can't hold a value of type ${typeof value}`);
  }
}

const BLANK = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/y;
const WORD = /true|false|null/y;

class Parser {
  private position = 0;

  constructor(private readonly text: string) {}

  parse(): unknown {
    const value = this.value();
    this.blank();
    if (this.position !== this.text.length) throw this.unexpected();
    return value;
  }

  private value(): unknown {
    this.blank();
    switch (this.text[this.position]) {
      case '{':
        return this.object();
      case '[':
        return this.array();
      case '"':
        return this.string();
      case 't':
      case 'f':
      case 'n':
        return JSON.parse(this.take(WORD));
      default:
        return this.number();
    }
  }

  private number(): number | bigint {
    const text = this.take(NUMBER);
    const value = Number(text);
    if (Number.isSafeInteger(value) || !/^-?[0-9]+$/.test(text)) return value;
    // What a number holds exactly stays one, so that a member of the type `number` always is.
    const exact = BigInt(text);
    return Number.isFinite(value) && BigInt(value) === exact ? value : exact;
  }

  private string(): string {
    return JSON.parse(this.take(STRING)) as string;
  }

  private array(): unknown[] {
    const out: unknown[] = [];
    this.expect('[');
    if (this.next(']')) return out;
    do {
      out.push(this.value());
    } while (this.next(','));
    this.expect(']');
    return out;
  }

  private object(): object {
    const members: [string, unknown][] = [];
    this.expect('{');
    if (!this.next('}')) {
      do {
        this.blank();
        const name = this.string();
        this.expect(':');
        members.push([name, this.value()]);
      } while (this.next(','));
      this.expect('}');
    }
    return Object.fromEntries(members);
  }

  private blank(): void {
    BLANK.lastIndex = this.position;
    BLANK.test(this.text);
    this.position = BLANK.lastIndex;
  }

  /** Takes this character, behind blanks, if it is there. */
  private next(character: string): boolean {
    this.blank();
    if (this.text[this.position] !== character) return false;
    this.position += 1;
    return true;
  }

  private expect(character: string): void {
    if (!this.next(character)) throw this.unexpected();
  }

  private take(token: RegExp): string {
    token.lastIndex = this.position;
    if (!token.test(this.text)) throw this.unexpected();
    const text = this.text.slice(this.position, token.lastIndex);
    this.position = token.lastIndex;
    return text;
  }

  private unexpected(): SyntaxError {
    const what = this.text[this.position];
    return new SyntaxError(
      `${what === undefined ? 'the end' : `'${what}'`} is unexpected at position ${this.position}`);
  }
}
