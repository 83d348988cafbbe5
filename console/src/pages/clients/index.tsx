export { default } from './ClientList';
