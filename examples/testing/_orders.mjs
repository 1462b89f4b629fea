// The program under test: orders of a shop, each stored together with its place in the list of its customer.
import { isDbError, isRetryable, WriteBatch } from 'shaledb';

const text = (bytes) => new TextDecoder().decode(bytes);

/** Resolves when the order is durable, however long the store is unavailable. */
export async function placeOrder(db, order) {
  const batch = new WriteBatch()
    .put(`order/${order.id}`, JSON.stringify(order))
    .put(`customer/${order.customer}/${order.id}`, '');
  try {
    await db.write(batch);
  } catch (error) {
    // Unknown is not failed: the batch keeps its place and the database keeps trying. So wait; do not write it again.
    if (!isDbError(error) || error.outcome !== 'unknown') throw error;
    await durable(db);
  }
}

async function durable(db) {
  for (;;) {
    try {
      return await db.flush();
    } catch (error) {
      if (!isRetryable(error)) throw error;
    }
  }
}

/** The order, or undefined if there is none; rejects where that cannot be known. */
export async function findOrder(db, id) {
  const value = await db.get(`order/${id}`);
  return value === undefined ? undefined : JSON.parse(text(value));
}

export async function ordersOf(db, customer) {
  const prefix = `customer/${customer}/`;
  const ids = [];
  for await (const { key } of db.scan({ prefix })) ids.push(text(key).slice(prefix.length));
  return ids;
}
