/* The order between streams, as a vector clock. */
#include "exec/order.h"

void galv_marks_join(galv_marks *marks, const galv_marks *more)
{
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        if (more->of[stream] > marks->of[stream]) {
            marks->of[stream] = more->of[stream];
        }
    }
}

uint64_t galv_order_mark(galv_order *order, galv_stream stream)
{
    order->last.of[stream]++;
    order->known[stream].of[stream] = order->last.of[stream];
    return order->last.of[stream];
}

int galv_order_lacks(const galv_order *order, galv_stream stream, galv_stream other,
                     const galv_marks *marks)
{
    return stream != other && marks->of[other] > order->known[stream].of[other];
}

void galv_order_waits(galv_order *order, galv_stream stream, galv_stream other,
                      uint64_t mark)
{
    if (mark > order->known[stream].of[other]) {
        order->known[stream].of[other] = mark;
    }
}

galv_marks galv_order_before(const galv_order *order, galv_stream stream)
{
    return order->known[stream];
}

void galv_order_joins(galv_order *order, galv_stream stream, const galv_marks *before)
{
    galv_marks_join(&order->known[stream], before);
}

void galv_order_settles(galv_order *order)
{
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        order->known[stream] = order->last;
    }
}
